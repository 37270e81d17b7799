-- How store.lua and add.lua end, with their keys and arguments.
local ttl, stale = tonumber(ARGV[5]), tonumber(ARGV[6])
local ms = math.ceil((ttl + stale) / 1000)
local tags, good = {}, true
for i = 11, #ARGV, 2 do
  local key, version = KEYS[(i - 11) / 2 + 3], ARGV[i + 1]
  if key then
    if version ~= '' and call('GET', key) ~= version then good = false break end
    version = version_of(key, ARGV[9], math.max(ms + 1000, TAG_MS))
  end
  tags[#tags + 1] = ARGV[i] .. version
end
if good then
  forget_chunks(KEYS[1])
  local head = struct.pack('>BBBBI8I8I8I4I4', LAYOUT, tonumber(ARGV[3]), #tags, tonumber(ARGV[4]), now, now + ttl,
    now + ttl + stale, tonumber(ARGV[7]), tonumber(ARGV[8]))
  call('SET', KEYS[1], head .. table.concat(tags) .. ARGV[10], 'PX', ms)
end
if call('UNLINK', KEYS[2]) == 1 then call('PUBLISH', KEYS[2] .. ':w', '') end
return good and 1 or 0
