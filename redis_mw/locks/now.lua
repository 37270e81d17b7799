-- What every script begins with: where a lock is kept, and what time it is.
-- A lock is called by what its three keys have in common, `<prefix>:k1:{<name>}:`, and
--   h  a sorted set of the tokens that hold it, by the end of their lease in us: `x` (exclusive) or `s` (shared), the
--      channel on which whoever it is listens while he waits, `.`, a number of his own. Who is over stays for a while,
--      so that whoever comes next knows that he takes over
--   q  a sorted set of those who wait, by their arrival in us: entries `token|wait in us|ttl in us|names`, the names as
--      they stand in the keys and parted by commas, none where it is only this one. An entry ends by itself
--   f  the last fencing token
-- KEYS     the h of every lock. Keys of the same name, and of the names in an entry, are derived from it: one server
-- ARGV     1 now in us ('' asks the server's clock), 2 an entry, 3 its token
-- Numbers go whole into commands (17 digits); only Lua's own printing would round them.
local LINGER = 60000        -- ms
local FENCE = 86400000      -- ms that a fence is remembered after its last use, see queue.lua
local call = redis.call

local now = tonumber(ARGV[1])
if not now then
  local time = call('TIME')
  now = time[1] * 1000000 + time[2]
end
