-- Give a lease back with nothing to show for it, and wake those who wait.
-- KEYS[1]  the hash of its URL, see page.lua
-- ARGV     1 now, 2 owner, 3 the variant, 4 for how many us nobody shall wait for such a response, as it cannot be stored
--          (left out where there is too much of that in the hash)
-- Reply    1 given back | 0 not: it is over, or another's
--include page
if not is_owners(pcall('HGET', KEYS[1], 'l:' .. ARGV[3]), ARGV[2]) then return 0 end
local useless = tonumber(ARGV[4]) > 0
if useless and call('HLEN', KEYS[1]) >= MOST_FIELDS then -- variants are chosen by clients
  for _, field in ipairs(call('HKEYS', KEYS[1])) do
    local kind, data = sub(field, 1, 2), call('HGET', KEYS[1], field)
    if kind == 'p:' and (#data ~= 8 or us_at(data, 1) <= now) then call('HDEL', KEYS[1], field) end
  end
  useless = call('HLEN', KEYS[1]) < MOST_FIELDS
end
if useless then
  call('HSET', KEYS[1], 'p:' .. ARGV[3], struct.pack('>I8', now + ARGV[4]))
  lives(KEYS[1], ARGV[4] / 1000)
end
call('HDEL', KEYS[1], 'l:' .. ARGV[3])
wake(KEYS[1])
return 1
