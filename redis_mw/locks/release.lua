-- Give locks back and hand each to whoever is next. Harmless when sent again, or where nothing was held.
-- KEYS, ARGV 1 to 3  see queue.lua; ARGV 2 is '' for one who cannot be waiting
-- Reply    1 all of them were yours, 0 they were not, or not any more
local entry, token, yours, over, waits, known = ARGV[2], ARGV[3], 1, false, false, {}
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
      known[i] = max(known[i], since + tonumber(string.match(entry, '^[^|]+|(%d+)')))
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
