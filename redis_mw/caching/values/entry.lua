-- What the other scripts share: an entry as it is stored, the versions of its tags, its lease. They include it.
-- An entry is a string, big-endian: version of the layout, flags, number of tags, copies (a byte each); stored at, fresh
-- until, stale until (us, 8 bytes each); what it cost to make in us, length of the plain body (4 bytes each); for each
-- tag its name (32 bytes) and its version when the entry was made (24); the body. Flags: 1 to 15 the format of the body,
-- 0 for None; 16 it is compressed; 32 it is a list of chunks: their id (16 bytes) and number (4).
-- Chunks are strings at <entry>:<id>:<number>.
--include version
local HEAD, LAYOUT, MOST_CHUNKS = 36, 1, 1025

local function opened(data)
  if not data or #data < HEAD then return nil end
  local layout, flags, tags, copies, stored, fresh, stale, cost = struct.unpack('>BBBBI8I8I8I4', data)
  if layout ~= LAYOUT then return nil end
  return {
    flags = flags, tags = tags, copies = copies, stored = stored, fresh = fresh, stale = stale, cost = cost,
    body = HEAD + tags * TAG,
  }
end

-- The keys of an entry's chunks.
local function chunks_of(key, entry)
  local keys = {}
  if math.floor(entry.flags / 32) % 2 == 1 then
    local list = call('GETRANGE', key, entry.body, -1)
    if #list == 20 then
      local id, number = struct.unpack('>c16I4', list)
      for i = 0, math.min(number, MOST_CHUNKS) - 1 do keys[i + 1] = key .. ':' .. id .. ':' .. i end
    end
  end
  return keys
end

-- What is known of an entry that is about to go, if it is one; its chunks go with it.
local function forget_chunks(key)
  local head = pcall('GETRANGE', key, 0, HEAD - 1)
  local entry = type(head) == 'string' and opened(head)
  if entry then
    for _, chunk in ipairs(chunks_of(key, entry)) do call('UNLINK', chunk) end
  end
  return entry
end
