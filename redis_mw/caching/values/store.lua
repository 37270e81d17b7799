-- Store an entry. One that was made under a lease only if that is still its owner's and no tag was dropped meanwhile.
-- The lease ends in any case, and those who wait for it are woken.
-- KEYS[1]  the entry, see entry.lua; KEYS[2] its lease; KEYS[3..] the versions of its tags, left out where they are on
--          other servers
-- ARGV     1 now, 2 owner, or '' stores whoever has the lease, 3 flags, 4 copies, 5 fresh for so many us, 6 then stale
--          for so many, 7 cost in us, 8 length of the plain body, 9 random bytes, 10 the body,
--          11.. for each tag its name and the version it must still have, or '' for the one it has; without its key the
--          version that it had
-- Reply    1 stored | 0 not: it was dropped, or another one is at it
--include entry
local owner = ARGV[2]
if owner ~= '' and pcall('GET', KEYS[2]) ~= owner then return 0 end
--include keep
