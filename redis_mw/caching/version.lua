-- What scripts share of tags: the time, and the versions of tags. They include it.
-- A version is a string of two halves of 12 bytes: 8 for a time in us, 4 random. Another first half: what hangs on the
-- tag is gone. Another second half: it is stale. A half whose first bit is set was drawn because there was none; without
-- it something was dropped then, which who reads a version for the first time may have to know.
-- ARGV[1]  now in us ('' asks the server's clock)
local TAG, TAG_MS = 56, 3600000
local call, pcall = redis.call, redis.pcall
local sub = string.sub

local now = tonumber(ARGV[1])
if not now then
  local time = call('TIME')
  now = time[1] * 1000000 + time[2]
end

local function is_version(text)
  return type(text) == 'string' and #text == 24
end

-- The version of a tag, drawn if it has none; it lives for so long at least.
local function version_of(key, seed, ms)
  local version = pcall('GET', key)
  if not is_version(version) then
    local half = '\128' .. sub(struct.pack('>I8', now), 2) .. seed
    version = half .. half
    call('SET', key, version, 'PX', math.ceil(ms))
  elseif call('PTTL', key) < ms then
    call('PEXPIRE', key, math.ceil(2 * ms)) -- each change is told to all who keep what hangs on it: a rare one
  end
  return version
end

-- Whether something that hangs on the tag was dropped, hard or softly, at or after a time.
local function dropped_since(version, us)
  for at = 1, 13, 12 do
    if string.byte(version, at) < 128 and struct.unpack('>I8', sub(version, at, at + 7)) >= us then return true end
  end
  return false
end
