-- Keep slots that are in flight for another lease.
-- KEYS     sorted sets of slots
-- ARGV     now in us ('' asks the server's clock), then for each: lease in us, id
-- Reply    for each: 1 renewed, 0 it had run out
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
local reply = {}
for i, key in ipairs(KEYS) do
  local lease, id = tonumber(ARGV[2 * i]), ARGV[2 * i + 1]
  local ends = tonumber(redis.call('ZSCORE', key, id))
  reply[i] = 0
  if ends and ends > now then
    redis.call('ZADD', key, now + lease, id)
    redis.call('PEXPIRE', key, math.ceil(lease / 1000) + 1)
    reply[i] = 1
  end
end
return reply
