-- Store an entry where there is none that is fresh.
-- KEYS     as in store.lua
-- ARGV     as in store.lua, but for 2: what stands before a tag's name in its key
-- Reply    1 stored | 0 not: there is a fresh one
--include found
if found(KEYS[1], '', apart and told_from(11)) == 1 then return 0 end
--include keep
