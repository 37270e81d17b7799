-- Read the version of a tag, drawn if it has none, and have it live for so long at least; for what hangs on it on another
-- server.
-- KEYS[1]  the tag's version, see version.lua
-- ARGV     1 now, 2 4 random bytes, 3 ms, 4 a time in us or ''
-- Reply    {the version, 1 something that hangs on it was dropped at or after that time | 0}
--include version
local version = version_of(KEYS[1], ARGV[2], math.max(tonumber(ARGV[3]), TAG_MS))
return {version, ARGV[4] ~= '' and dropped_since(version, tonumber(ARGV[4])) and 1 or 0}
