-- Store a new session under an id that nobody has.
-- KEYS[1]  the session
-- ARGV     birth, its own idle time in us or 0, idle time in us, the same for a session without a user,
--          longest life in us, user or '', then field, value, field, value ...
-- Reply    {'live', now in us, deadline in us} | {'taken'}: the key exists, nothing was written
if redis.call('EXISTS', KEYS[1]) == 1 then return {'taken'} end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local own_idle, user = ARGV[2], ARGV[6]
local idle = tonumber(own_idle)
if idle == 0 then idle = tonumber(user == '' and ARGV[4] or ARGV[3]) end
local deadline = now + math.max(tonumber(ARGV[5]), tonumber(own_idle))
local stamp, limit = string.format('%.0f', now), string.format('%.0f', deadline)
redis.call('HSET', KEYS[1], 'm', table.concat({'1', ARGV[1], stamp, stamp, limit, own_idle, user}, '|'))
for i = 7, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', math.floor(math.min(now + idle, deadline) / 1000)))
return {'live', stamp, limit}
