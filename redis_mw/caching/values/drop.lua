-- Forget an entry, and have nobody store one that is being made now.
-- KEYS[1]  the entry, see entry.lua; KEYS[2] its lease
-- ARGV     1 now
-- Reply    {1 if there was one, how many copies it said there are}
--include entry
local entry = forget_chunks(KEYS[1])
local gone = call('UNLINK', KEYS[1])
if call('UNLINK', KEYS[2]) == 1 then call('PUBLISH', KEYS[2] .. ':w', '') end
return {gone, entry and entry.copies or 1}
