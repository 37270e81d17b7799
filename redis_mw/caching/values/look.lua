-- Find an entry that can be used; where there is none, or it is to be made anew, take the lease if nobody has it.
-- KEYS[1]  the entry, see entry.lua; KEYS[2] its lease, a string: whose it is
-- KEYS[3..] the versions of the tags that what is made will have, left out where they are on other servers
-- ARGV     1 now, 2 what stands before a tag's name in its key, 3 owner ('' does not take the lease), 4 how many times its
--          cost before its end an entry is made anew ('' never), 5 when an entry was stored that is not to be used,
--          or '', 6 lease in us where no cost is known, 7 and 8 the shortest and the longest, 9 random bytes
-- Reply    {what: 0 nothing | 1 fresh | 2 stale | 3 nothing that can be read, lease: 1 it is yours | 0 another's
--          | -1 not wanted, us it lasts, the entry or '', the versions of the tags if it is yours}
-- The tags of an entry stand in it; where they are on other servers who asked must look at them.
--include found
local owner = ARGV[3]
local what, data, entry = found(KEYS[1], ARGV[5])

local early = false
if what == 1 and ARGV[4] ~= '' then
  early = now + entry.cost * ARGV[4] >= entry.fresh and entry.fresh - now <= (entry.fresh - entry.stored) / 5
end
local reply = {what, -1, 0, (what == 1 or what == 2) and data or ''}
if owner == '' or (what == 1 and not early) then return reply end

local holder = pcall('GET', KEYS[2])
if type(holder) == 'string' and holder ~= owner then
  reply[2], reply[3] = 0, math.max(0, call('PTTL', KEYS[2])) * 1000
  return reply
end
local lease = tonumber(ARGV[6])
if entry and entry.cost > 0 then
  lease = math.min(math.max(3 * entry.cost, tonumber(ARGV[7])), tonumber(ARGV[8]))
end
call('SET', KEYS[2], owner, 'PX', math.ceil(lease / 1000))
reply[2], reply[3] = 1, lease
for i = 3, #KEYS do reply[i + 2] = version_of(KEYS[i], ARGV[9], TAG_MS) end
return reply
