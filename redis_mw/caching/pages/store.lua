-- Store a page that was made under a lease, if that is still its owner's and no tag was dropped meanwhile. The lease ends in
-- any case, and those who wait for it are woken.
-- KEYS[1]  the hash of its URL, see page.lua; KEYS[2..] the versions of its tags, left out where they are on other servers
-- ARGV     1 now, 2 owner, 3 the variant that the lease is on, 4 the names that it was known to vary by ('-' none were
--          known), 5 those that it varies by, 6 the variant, 7 how many variants there may be, 8 the head, 9 the fields,
--          10 the body, or '' with 11 when the page was stored whose body stays, 12 how long to keep it in ms, 13 random
--          bytes, 14.. for each tag its name and the version that it must still have; '' where that was not read: then
--          nothing that hangs on it may have been dropped since the lease was taken; without its key the version it had
-- Reply    1 stored | 0 not: it was dropped, or another one is at it | 2 not: there are too many variants
--include page
local key, variant = KEYS[1], ARGV[6]
local chunks = is_chunked(string.byte(ARGV[8], 2)) and ARGV[10]
local lease = pcall('HGET', key, 'l:' .. ARGV[3])
if not is_owners(lease, ARGV[2]) then
  if type(lease) ~= 'table' then forget_chunks(key, chunks) end
  return 0
end
local since = us_at(lease, 9)

local function ended(reply)
  if reply ~= 1 then forget_chunks(key, chunks) end
  call('HDEL', key, 'l:' .. ARGV[3])
  wake(key)
  return reply
end

local names = call('HGET', key, 'v') or '-'
if names ~= ARGV[4] then return ended(0) end
local page = opened(call('HGET', key, 'm:' .. variant))
if ARGV[11] ~= '' then -- told apart by more, it is another variant, which has no body to stay
  if names ~= ARGV[5] or not page or string.format('%.0f', page.stored) ~= ARGV[11] then return ended(0) end
end

local ms, tags = tonumber(ARGV[12]), {}
for i = 14, #ARGV, 2 do
  local at, version = KEYS[(i - 14) / 2 + 2], ARGV[i + 1]
  if at then
    local current = pcall('GET', at)
    if version ~= '' and current ~= version then return ended(0) end
    if version == '' and is_version(current) and dropped_since(current, since) then return ended(0) end
    version = version_of(at, ARGV[13], math.max(ms + 1000, TAG_MS))
  end
  tags[#tags + 1] = ARGV[i] .. version
end

if names ~= ARGV[5] then
  if names ~= '-' then -- its variants were told apart by too little
    local own = chunks and 'c:' .. sub(chunks, 1, 16) .. ':'
    for _, field in ipairs(call('HKEYS', key)) do
      if not own or sub(field, 1, #own) ~= own then call('HDEL', key, field) end
    end
    page = nil
  end
elseif not page then
  local number, most = 0, tonumber(ARGV[7])
  for _, field in ipairs(call('HKEYS', key)) do
    if sub(field, 1, 2) == 'm:' then
      local other = opened(call('HGET', key, field))
      if other and other.last > now then
        number = number + 1
      else
        forget(key, sub(field, 3), other)
      end
    end
  end
  if number >= most then return ended(2) end
end
if page and ARGV[11] == '' then forget(key, variant, page) end
call('HSET', key, 'v', ARGV[5], 'm:' .. variant, ARGV[8] .. table.concat(tags) .. ARGV[9])
if ARGV[11] == '' then call('HSET', key, 'b:' .. variant, ARGV[10]) end
call('HDEL', key, 'p:' .. variant)
lives(key, ms)
return ended(1)
