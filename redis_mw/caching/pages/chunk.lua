-- Keep a part of a body that is too large to be stored at once, while its lease is its owner's.
-- KEYS[1]  the hash of its URL, see page.lua
-- ARGV     1 now, 2 owner, 3 the variant that the lease is on, 4 the id of the chunks, 5 its number, 6 the bytes, 7 how long
--          to keep it in ms
-- Reply    1 kept | 0 not
--include page
if not is_owners(pcall('HGET', KEYS[1], 'l:' .. ARGV[3]), ARGV[2]) then return 0 end
call('HSET', KEYS[1], 'c:' .. ARGV[4] .. ':' .. ARGV[5], ARGV[6])
lives(KEYS[1], tonumber(ARGV[7]))
return 1
