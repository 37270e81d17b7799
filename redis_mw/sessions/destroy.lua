-- End a session: its keys go, requests in flight can no longer write to it, and those who watch it are told.
-- KEYS[1]  the session
-- ARGV     '' or '+42': end it only if it is user 42's;  '' or the key of a session to keep
-- Reply    {'ended', key, its user or '', key, user ...}: all that went | {'gone'} | {'other'}: somebody else's, left alone
--          {'kept'}: an old id of the session to keep, left alone
local found = redis.pcall('HMGET', KEYS[1], 'm', 'n')
if found.err or not found[1] then return {'gone'} end
local user = string.match(found[1], '^1|%x+|%d+|%d+|%d+|%d+|(.*)$')
if not user then return {'gone'} end
if ARGV[1] ~= '' and '+' .. user ~= ARGV[1] then return {'other'} end
if ARGV[2] ~= '' then
  local next = found[2]
  while next do
    if next == ARGV[2] then return {'kept'} end
    next = redis.call('HGET', next, 'n')
  end
end
local key, successor, reply = KEYS[1], found[2], {'ended'}
while true do
  redis.call('UNLINK', key)
  redis.call('PUBLISH', key .. ':w', 'ended')
  reply[#reply + 1], reply[#reply + 2] = key, user
  -- An id that was regenerated: what it became, in the same slot, is the session that is meant.
  if not successor then return reply end
  key = successor
  local next = redis.call('HMGET', key, 'm', 'n')
  user = next[1] and string.match(next[1], '^1|%x+|%d+|%d+|%d+|%d+|(.*)$')
  if not user or (ARGV[1] ~= '' and '+' .. user ~= ARGV[1]) then return reply end
  successor = next[2]
end
