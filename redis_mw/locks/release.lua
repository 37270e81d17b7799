-- Give locks back and hand each to whoever is next. Harmless when sent again, or where nothing was held.
-- KEYS, ARGV 1 to 3  see now.lua; ARGV 2 is '' for one who cannot be waiting
-- Reply    1 all of them were yours, 0 they were not, or not any more
--include now
local entry, token, waits = ARGV[2], ARGV[3], false

-- As nearly always: one lock that nobody waits for.
if entry == '' and not KEYS[2] then
  waits = call('EXISTS', string.sub(KEYS[1], 1, -2) .. 'q') == 1
  if not waits then
    local ends = call('ZSCORE', KEYS[1], token)
    if ends then call('ZREM', KEYS[1], token) end
    return ends and tonumber(ends) > now and 1 or 0
  end
end

--include queue
local yours, over, known = 1, false, {}
for i, key in ipairs(KEYS) do
  local queued = string.sub(key, 1, -2) .. 'q'
  local ends = tonumber(call('ZSCORE', key, token))
  known[i] = ends or 0
  if ends then call('ZREM', key, token) end
  if not ends or ends <= now then yours = 0 end
  if ends and ends <= now then over = true end
  if entry ~= '' then
    local since = call('ZSCORE', queued, entry)
    if since then
      known[i] = math.max(known[i], since + tonumber(string.match(entry, '^[^|]+|(%d+)')))
      call('ZREM', queued, entry)
    end
  end
  waits = waits or call('EXISTS', queued) == 1
end
if waits then
  local all = queue()
  all.advance({unpack(all.mine)}, over)
  for i, lock in ipairs(all.mine) do all.hasten(lock, known[i]) end
end
return yours
