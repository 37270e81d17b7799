-- Store the response of a run that is over, and wake those who wait for it.
-- KEYS[1]  the record, as in claim.lua
-- ARGV     fingerprint, owner, response, ttl of the record in ms
-- Reply    1 stored, now or by this owner before | 0 not: the key is another run's, or what stands there no record
local found = redis.pcall('HMGET', KEYS[1], 'f', 'o', 'r')
if found.err or (found[2] and found[2] ~= ARGV[2]) then return 0 end
if found[2] and found[3] then return 1 end
if not found[2] then
  if found[1] or found[3] then return 0 end
  -- The record was lost meanwhile (evicted, or a failover): the run has happened all the same.
  redis.call('HSET', KEYS[1], 'f', ARGV[1], 'o', ARGV[2], 'n', 1, 'r', ARGV[3])
else
  redis.call('HSET', KEYS[1], 'r', ARGV[3])
end
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('HDEL', KEYS[1], 'l')
redis.call('PUBLISH', KEYS[1] .. ':w', 'done')
return 1
