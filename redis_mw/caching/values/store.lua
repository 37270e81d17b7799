-- Store an entry. One that was made under a lease only if that is still its owner's and no tag was dropped meanwhile.
-- The lease ends in any case, and those who wait for it are woken.
-- KEYS[1]  the entry, see entry.lua; KEYS[2] its lease; KEYS[3..] the versions of its tags
-- ARGV     1 now, 2 owner, or '' stores whoever has the lease, 3 flags, 4 copies, 5 fresh for so many us, 6 then stale
--          for so many, 7 cost in us, 8 length of the plain body, 9 random bytes, 10 the body,
--          11.. for each tag its name and the version it must still have, or '' for the one it has
-- Reply    1 stored | 0 not: it was dropped, or another one is at it
--include entry
local owner = ARGV[2]
if owner ~= '' and pcall('GET', KEYS[2]) ~= owner then return 0 end
local ttl, stale = tonumber(ARGV[5]), tonumber(ARGV[6])
local ms = math.ceil((ttl + stale) / 1000)
local tags, good = {}, true
for i = 3, #KEYS do
  local name, wanted = ARGV[2 * i + 5], ARGV[2 * i + 6]
  if wanted ~= '' and call('GET', KEYS[i]) ~= wanted then good = false break end
  tags[#tags + 1] = name .. version_of(KEYS[i], ARGV[9], math.max(ms + 1000, TAG_MS))
end
if good then
  forget_chunks(KEYS[1])
  local head = struct.pack('>BBBBI8I8I8I4I4', LAYOUT, tonumber(ARGV[3]), #tags, tonumber(ARGV[4]), now, now + ttl,
    now + ttl + stale, tonumber(ARGV[7]), tonumber(ARGV[8]))
  call('SET', KEYS[1], head .. table.concat(tags) .. ARGV[10], 'PX', ms)
end
if call('UNLINK', KEYS[2]) == 1 then call('PUBLISH', KEYS[2] .. ':w', '') end
return good and 1 or 0
