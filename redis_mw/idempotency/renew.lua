-- Keep a claim for another lease.
-- KEYS[1]  the record, as in claim.lua
-- ARGV     now in us ('' asks the server's clock), owner, lease in us, ttl of the record in ms
-- Reply    1 renewed, even if it had run out and nobody took it over | 0 not: it is another's, complete or gone
local found = redis.pcall('HMGET', KEYS[1], 'o', 'r')
if found.err or found[1] ~= ARGV[2] or found[2] then return 0 end
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
redis.call('HSET', KEYS[1], 'l', string.format('%.0f', now + ARGV[3]))
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1
