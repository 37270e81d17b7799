-- How store.lua and add.lua end, with their keys and arguments.
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
