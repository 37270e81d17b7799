-- Make what hangs on a tag stale.
-- KEYS[1]  the tag's version, see version.lua
-- ARGV     now in us ('' asks the server's clock), 4 random bytes
-- Reply    1 | 0: nothing hangs on it
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
local version = redis.call('GET', KEYS[1])
if not version then return 0 end
redis.call('SET', KEYS[1], string.sub(version, 1, 12) .. struct.pack('>I8', now) .. ARGV[2], 'KEEPTTL')
return 1
