-- Forget a claim, so that the next request runs, and wake those who wait for it.
-- KEYS[1]  the record, as in claim.lua
-- ARGV     owner: only its claim, and only while it is not complete | '': whatever is there
-- Reply    1 forgotten | 0 not: there is none, or it is another's, or complete
if ARGV[1] ~= '' then
  local found = redis.pcall('HMGET', KEYS[1], 'o', 'r')
  if found.err or found[1] ~= ARGV[1] or found[2] then return 0 end
end
local gone = redis.call('UNLINK', KEYS[1])
if gone == 1 then redis.call('PUBLISH', KEYS[1] .. ':w', 'free') end
return gone
