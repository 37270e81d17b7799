-- Give a lease back with nothing to show for it, and wake those who wait: one of them takes it.
-- KEYS[1]  the lease, as in renew.lua
-- ARGV     owner
-- Reply    1 given back | 0 not: it is over, or another's
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('UNLINK', KEYS[1])
redis.call('PUBLISH', KEYS[1] .. ':w', '')
return 1
