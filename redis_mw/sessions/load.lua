-- Read a session, and renew it when enough of its idle time has gone.
-- KEYS[1]  the session
-- ARGV     idle time in us, the same for a session without a user, share of it in 1/1000 after which to renew (-1: never)
-- Reply    {'gone'} | {'damaged'} | {'live' or 'old', now in us, 1 if renewed else 0, HGETALL as a flat list}
--          'old' is an id that was regenerated a moment ago: it may still be read, not written, and is never renewed.
local fields = redis.pcall('HGETALL', KEYS[1])
if fields.err then return {'damaged'} end
if #fields == 0 then return {'gone'} end
local at, successor
for i = 1, #fields, 2 do
  if fields[i] == 'm' then at = i + 1 elseif fields[i] == 'n' then successor = fields[i + 1] end
end
if not at then return {'damaged'} end
local birth, created, seen, deadline, own_idle, user =
  string.match(fields[at], '^1|(%x+)|(%d+)|(%d+)|(%d+)|(%d+)|(.*)$')
if not birth then return {'damaged'} end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local stamp = string.format('%.0f', now)
if now >= tonumber(deadline) then return {'gone'} end
if successor then
  -- An old id ends with the session it became, however often that moved on since.
  while successor do
    local next = redis.call('HMGET', successor, 'm', 'n')
    if not next[1] then return {'gone'} end
    successor = next[2]
  end
  return {'old', stamp, 0, fields}
end
local idle, share = tonumber(own_idle), tonumber(ARGV[3])
if idle == 0 then idle = tonumber(user == '' and ARGV[2] or ARGV[1]) end
if share < 0 or (now - tonumber(seen)) * 1000 < idle * share then return {'live', stamp, 0, fields} end
-- pcall: a read-only or full server still serves the session. The expiry first, it needs no memory.
local expiry = math.floor(math.min(now + idle, tonumber(deadline)) / 1000)
if type(redis.pcall('PEXPIREAT', KEYS[1], string.format('%.0f', expiry))) ~= 'number' then
  return {'live', stamp, 0, fields}
end
local meta = table.concat({'1', birth, created, stamp, deadline, own_idle, user}, '|')
if type(redis.pcall('HSET', KEYS[1], 'm', meta)) == 'number' then fields[at] = meta end
return {'live', stamp, 1, fields}
