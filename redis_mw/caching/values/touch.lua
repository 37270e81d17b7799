-- Have a fresh entry last for another while from now on; it has no copies.
-- KEYS[1]  the entry, see entry.lua; KEYS[2] its lease
-- ARGV     1 now, 2 what stands before a tag's name in its key, 3 fresh for so many us: 0 forgets it as drop.lua does,
--          '' leaves it as it is, 4.. for each tag on another server its name and version
-- Reply    1 there was a fresh one | 0
--include found
local what, data, entry = found(KEYS[1], '', apart and told_from(4))
local ttl = tonumber(ARGV[3])
if ttl == 0 then
  forget_chunks(KEYS[1])
  call('UNLINK', KEYS[1])
  if call('UNLINK', KEYS[2]) == 1 then call('PUBLISH', KEYS[2] .. ':w', '') end
elseif ttl and what == 1 then
  local ms = math.ceil(ttl / 1000)
  call('SETRANGE', KEYS[1], 12, struct.pack('>I8I8', now + ttl, now + ttl))
  call('PEXPIRE', KEYS[1], ms)
  -- The tags outlive what hangs on them, the chunks their list.
  for _, key in ipairs(apart and {} or (tags_of(data, entry))) do
    if call('PTTL', key) < ms + 1000 then call('PEXPIRE', key, ms + 1000) end
  end
  for _, key in ipairs(chunks_of(KEYS[1], entry)) do call('PEXPIRE', key, ms + 1000) end
end
return what == 1 and 1 or 0
