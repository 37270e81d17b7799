-- Note a session in its user's index, before the session itself is written, so that revoking can never miss one.
-- KEYS[1]  the index: a sorted set of session names
-- ARGV     name, longest life in us
-- Reply    1
-- A score is the session's deadline in seconds times 2^20 plus the second it was noted in modulo 2^20 (exact in a double).
local seconds = tonumber(redis.call('TIME')[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('(%.0f', seconds * 1048576))
-- A minute more than the session has: its own script reads the clock a moment later.
local deadline = seconds + math.ceil(tonumber(ARGV[2]) / 1000000) + 60
redis.call('ZADD', KEYS[1], 'GT', string.format('%.0f', deadline * 1048576 + seconds % 1048576), ARGV[1])
local latest = tonumber(redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2])
redis.call('EXPIREAT', KEYS[1], string.format('%.0f', math.floor(latest / 1048576)))
return 1
