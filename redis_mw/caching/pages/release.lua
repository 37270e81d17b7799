-- Give a lease back with nothing to show for it, and wake those who wait.
-- KEYS[1]  the hash of its URL, see page.lua
-- ARGV     1 now, 2 owner, 3 the variant, 4 for how many us nobody shall wait for such a response, as it cannot be stored
-- Reply    1 given back | 0 not: it is over, or another's
--include page
if not is_owners(pcall('HGET', KEYS[1], 'l:' .. ARGV[3]), ARGV[2]) then return 0 end
if tonumber(ARGV[4]) > 0 then
  call('HSET', KEYS[1], 'p:' .. ARGV[3], struct.pack('>I8', now + ARGV[4]))
  lives(KEYS[1], ARGV[4] / 1000)
end
call('HDEL', KEYS[1], 'l:' .. ARGV[3])
wake(KEYS[1])
return 1
