-- Keep a lease for another while.
-- KEYS[1]  the hash of its URL, see page.lua
-- ARGV     1 now, 2 owner, 3 the variant, 4 for how long in us
-- Reply    1 renewed | 0 not: it is over, or another's, or its URL was purged
--include page
local lease = pcall('HGET', KEYS[1], 'l:' .. ARGV[3])
if not is_owners(lease, ARGV[2]) then return 0 end
call('HSET', KEYS[1], 'l:' .. ARGV[3], struct.pack('>I8', now + ARGV[4]) .. sub(lease, 9))
lives(KEYS[1], ARGV[4] / 1000)
return 1
