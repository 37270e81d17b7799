-- Give locks back and hand each to whoever is next. Harmless when sent again, or where nothing was held.
-- KEYS, ARGV 1 to 3  see queue.lua; ARGV 2 is '' for one who cannot be waiting
-- Reply    1 all of them were yours, 0 they were not, or not any more
local entry, token, yours, over, waits = ARGV[2], ARGV[3], 1, false, false
for _, key in ipairs(KEYS) do
  local queued = string.sub(key, 1, -2) .. 'q'
  local ends = tonumber(call('ZSCORE', key, token))
  if ends then call('ZREM', key, token) end
  if not ends or ends <= now then yours = 0 end
  if ends and ends <= now then over = true end
  if entry ~= '' then call('ZREM', queued, entry) end
  waits = waits or call('EXISTS', queued) == 1
end
if waits then
  local all = queue()
  all.advance(all.mine, over)
end
return yours
