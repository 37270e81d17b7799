-- Make what hangs on a tag stale.
-- KEYS[1]  the tag's version, see version.lua
-- ARGV     1 now, 2 4 random bytes
-- Reply    1 | 0: nothing hangs on it
--include version
local version = pcall('GET', KEYS[1])
if not is_version(version) then return 0 end
call('SET', KEYS[1], sub(version, 1, 12) .. struct.pack('>I8', now) .. ARGV[2], 'KEEPTTL')
return 1
