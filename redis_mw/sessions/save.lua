-- Write what changed, only if the session still exists under this id.
-- KEYS[1]  the session
-- ARGV     idle time in us, the same for a session without a user, its own idle time in us ('' leaves it, 0 removes it),
--          1 to end a session without a user that has nothing left then, number of fields to remove, those fields,
--          then field, value, field, value ...
-- Reply    {'live', now in us, deadline in us} | {'ended'}: nothing was left
--          {'gone'}: ended or never was | {'old'}: regenerated meanwhile; nothing was written
local found = redis.pcall('HMGET', KEYS[1], 'm', 'n')
if found.err or not found[1] then return {'gone'} end
if found[2] then return {'old'} end
local birth, created, seen, deadline, own_idle, user =
  string.match(found[1], '^1|(%x+)|(%d+)|(%d+)|(%d+)|(%d+)|(.*)$')
if not birth then return {'gone'} end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
if now >= tonumber(deadline) then return {'gone'} end
if ARGV[3] ~= '' then
  own_idle = ARGV[3]
  deadline = string.format('%.0f', math.max(tonumber(deadline), now + tonumber(own_idle)))
end
local idle = tonumber(own_idle)
if idle == 0 then idle = tonumber(user == '' and ARGV[2] or ARGV[1]) end
local stamp = string.format('%.0f', now)
redis.call('HSET', KEYS[1], 'm', table.concat({'1', birth, created, stamp, deadline, own_idle, user}, '|'))
local first = 6 + tonumber(ARGV[5])
for i = 6, first - 1 do redis.call('HDEL', KEYS[1], ARGV[i]) end
for i = first, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
if ARGV[4] == '1' and user == '' and redis.call('HLEN', KEYS[1]) == 1 + redis.call('HEXISTS', KEYS[1], 'a') then
  redis.call('UNLINK', KEYS[1])
  redis.call('PUBLISH', KEYS[1] .. ':w', 'ended')
  return {'ended'}
end
redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', math.floor(math.min(now + idle, tonumber(deadline)) / 1000)))
return {'live', stamp, deadline}
