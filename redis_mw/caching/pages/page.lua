-- What the other scripts share: a page as it is stored, and its lease. They include it.
-- All of one URL is one hash, so that one UNLINK forgets it, with what is being made of it:
--   v            the names of the fields it varies by, joined by commas
--   m:<variant>  a response without its body, big-endian: layout, flags (a byte each), status (2 bytes), number of tags (a
--                byte), stored at, age when it came, fresh until, stale until, usable on error until (us, 8 bytes each),
--                what it cost to make in us, length of the plain body (4 bytes each); for each tag its name (32 bytes) and
--                its version (24); its fields
--   b:<variant>  its body, or, flag 16, the id (16 bytes) and number (4) of its chunks, which are c:<id>:<n>
--   l:<variant>  a lease: until when, since when (us, 8 bytes each), whose it is
--   p:<variant>  until when it is known that its responses cannot be stored, so that nobody waits for one (us, 8 bytes)
--include version
local HEAD, LAYOUT, MOST_CHUNKS, MOST_FIELDS = 53, 1, 1025, 512

local function opened(data)
  if not data or #data < HEAD then return nil end
  local layout, flags, status, tags, stored, age, fresh, stale, error, cost = struct.unpack('>BBI2BI8I8I8I8I8I4', data)
  if layout ~= LAYOUT or #data < HEAD + tags * TAG then return nil end
  return {flags = flags, tags = tags, stored = stored, fresh = fresh, last = math.max(fresh, stale, error), cost = cost}
end

local function us_at(data, at)
  return (struct.unpack('>I8', sub(data, at, at + 7)))
end

-- Whether there is a lease, and it is this owner's.
local function is_owners(lease, owner)
  return type(lease) == 'string' and #lease > 16 and sub(lease, 17) == owner
end

local function is_chunked(flags)
  return math.floor(flags / 16) % 2 == 1
end

local function forget_chunks(key, list)
  if not list or #list ~= 20 then return end
  local id, number = struct.unpack('>c16I4', list)
  for i = 0, math.min(number, MOST_CHUNKS) - 1 do call('HDEL', key, 'c:' .. id .. ':' .. i) end
end

-- Forget one variant, with the chunks of its body.
local function forget(key, variant, page)
  if page and is_chunked(page.flags) then forget_chunks(key, call('HGET', key, 'b:' .. variant)) end
  call('HDEL', key, 'm:' .. variant, 'b:' .. variant)
end

-- Have the hash live for so long at least.
local function lives(key, ms)
  if call('PTTL', key) < ms then call('PEXPIRE', key, math.ceil(ms)) end
end

-- Say that something has changed: whoever waits looks again.
local function wake(key)
  call('PUBLISH', key .. ':w', '')
end
