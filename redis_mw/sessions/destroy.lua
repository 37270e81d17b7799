-- End a session: its keys go, requests in flight can no longer write to it, and those who watch it are told.
-- KEYS[1]  the session
-- ARGV     '' or '+42': end it only if it is user 42's
-- Reply    {'ended', its user or ''} | {'gone'} | {'other'}: somebody else's, left alone
local found = redis.pcall('HMGET', KEYS[1], 'm', 'n')
if found.err or not found[1] then return {'gone'} end
local user = string.match(found[1], '^1|%x+|%d+|%d+|%d+|%d+|(.*)$')
if not user then return {'gone'} end
if ARGV[1] ~= '' and '+' .. user ~= ARGV[1] then return {'other'} end
local key, successor = KEYS[1], found[2]
while true do
  redis.call('UNLINK', key)
  redis.call('PUBLISH', key .. ':w', 'ended')
  if not successor then return {'ended', user} end
  -- An id that was regenerated: what it became, in the same slot, is the session that is meant.
  key = successor
  local next = redis.call('HMGET', key, 'm', 'n')
  local owner = next[1] and string.match(next[1], '^1|%x+|%d+|%d+|%d+|%d+|(.*)$')
  if not owner or (ARGV[1] ~= '' and '+' .. owner ~= ARGV[1]) then return {'ended', user} end
  successor = next[2]
end
