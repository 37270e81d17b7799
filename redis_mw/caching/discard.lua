-- Have nothing that hangs on a tag used any more, nor anything stored that is being made for it now.
-- KEYS[1]  the tag's version, see version.lua
-- ARGV     1 now, 2 4 random bytes
-- Reply    1 something may hang on it | 0 nothing did
--include version
local known = is_version(pcall('GET', KEYS[1]))
local half = struct.pack('>I8', now) .. ARGV[2]
call('SET', KEYS[1], half .. half, 'PX', TAG_MS)
return known and 1 or 0
