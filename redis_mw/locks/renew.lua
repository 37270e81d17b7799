-- Have a lease last so long from now on, if it is not over.
-- KEYS     the h of each of its locks, see queue.lua
-- ARGV     now in us ('' asks the server's clock), token, ttl in us
-- Reply    1 it lasts, 0 it was over
local LINGER = 60000
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
for _, key in ipairs(KEYS) do
  local ends = tonumber(redis.call('ZSCORE', key, ARGV[2]))
  if not ends or ends <= now then return 0 end
end
for _, key in ipairs(KEYS) do
  redis.call('ZADD', key, now + tonumber(ARGV[3]), ARGV[2])
  local last = tonumber(redis.call('ZRANGE', key, -1, -1, 'WITHSCORES')[2])
  redis.call('PEXPIRE', key, math.ceil((last - now) / 1000) + LINGER)
end
return 1
