-- Keep a lease for another while.
-- KEYS[1]  the lease, a string: whose it is
-- ARGV     owner, for how long in ms
-- Reply    1 renewed | 0 not: it is over, or another's, or what it was taken for was dropped
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
