-- Give a session a new id and write what changed, in one step; what parallel writers saved until now moves along.
-- KEYS[1]  the session under its old id;  KEYS[2] under its new one, in the same slot
-- ARGV     idle time in us, the same for a session without a user, longest life in us,
--          its own idle time in us ('' leaves it, 0 removes it), grace for the old id in ms,
--          user: '=' leaves it, '-' unbinds it, '+42' binds 42 and starts the session's life anew,
--          for how long its user's index has noted it in us, 0 where there is no user,
--          number of fields to remove, those fields, then field, value, field, value ...
-- Reply    {'live', now in us, deadline in us}
--          {'gone'} | {'old'} | {'taken'} | {'longer', now in us, deadline in us}: nothing was written. 'longer' is a
--          session that somebody gave a longer life meanwhile: it would outlive its note in the index
-- The old id keeps a copy of what it had, never what the new one gains: who planted it sees no login.
local found = redis.pcall('HMGET', KEYS[1], 'm', 'n')
if found.err or not found[1] then return {'gone'} end
if found[2] then return {'old'} end
local birth, created, seen, deadline, own_idle, user =
  string.match(found[1], '^1|(%x+)|(%d+)|(%d+)|(%d+)|(%d+)|(.*)$')
if not birth then return {'gone'} end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
if now >= tonumber(deadline) then return {'gone'} end
local stamp, sign = string.format('%.0f', now), string.sub(ARGV[6], 1, 1)
if sign == '-' then user = '' end
if ARGV[4] ~= '' then own_idle = ARGV[4] end
if sign == '+' then
  user, created = string.sub(ARGV[6], 2), stamp
  deadline = string.format('%.0f', now + math.max(tonumber(ARGV[3]), tonumber(own_idle)))
elseif ARGV[4] ~= '' then
  deadline = string.format('%.0f', math.max(tonumber(deadline), now + tonumber(own_idle)))
end
local noted = tonumber(ARGV[7])
if noted > 0 and tonumber(deadline) - now > noted then return {'longer', stamp, deadline} end
if redis.call('COPY', KEYS[1], KEYS[2]) == 0 then return {'taken'} end
local idle = tonumber(own_idle)
if idle == 0 then idle = tonumber(user == '' and ARGV[2] or ARGV[1]) end
redis.call('HSET', KEYS[2], 'm', table.concat({'1', birth, created, stamp, deadline, own_idle, user}, '|'))
local first = 9 + tonumber(ARGV[8])
for i = 9, first - 1 do redis.call('HDEL', KEYS[2], ARGV[i]) end
for i = first, #ARGV, 2 do redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
redis.call('PEXPIREAT', KEYS[2], string.format('%.0f', math.floor(math.min(now + idle, tonumber(deadline)) / 1000)))
local grace = tonumber(ARGV[5])
if grace > 0 then
  redis.call('HSET', KEYS[1], 'n', KEYS[2])
  redis.call('PEXPIRE', KEYS[1], math.min(grace, redis.call('PTTL', KEYS[1])))
else
  redis.call('UNLINK', KEYS[1])
end
redis.call('PUBLISH', KEYS[1] .. ':w', 'moved')
return {'live', stamp, deadline}
