-- What more than one script asks: the entry at a key, and what it is worth now. They include it.
-- ARGV     2 what stands before a tag's name in its key; '' the tags are on other servers
--include entry
local apart = ARGV[2] == ''

-- The versions of tags on other servers, which stand in ARGV from there on.
local function told_from(first)
  local told = {}
  for i = first, #ARGV, 2 do told[ARGV[i]] = ARGV[i + 1] end
  return told
end

local function tags_of(data, entry)
  local keys, versions, names = {}, {}, {}
  for i = 1, entry.tags do
    local at = HEAD + (i - 1) * TAG
    names[i] = sub(data, at + 1, at + 32)
    keys[i] = ARGV[2] .. names[i] .. '}:v'
    versions[i] = sub(data, at + 33, at + TAG)
  end
  return keys, versions, names
end

-- 0 nothing | 1 fresh | 2 stale | 3 nothing that can be read, or the one stored at `unlike`; its bytes, and opened.
-- `told` are the versions of tags on other servers, nil: who asked looks at them.
local function found(key, unlike, told)
  local data = pcall('GET', key)
  if not data then return 0 end
  if type(data) == 'table' then return 3 end
  local entry = opened(data)
  if not entry or #data < entry.body or string.format('%.0f', entry.stored) == unlike then return 3, data, entry end
  if now >= entry.stale then return 0, data, entry end
  local what = now < entry.fresh and 1 or 2
  if entry.tags > 0 and (told or not apart) then
    local keys, versions, names = tags_of(data, entry)
    local have = not apart and call('MGET', unpack(keys))
    for i = 1, entry.tags do
      local current = have and have[i] or told and told[names[i]]
      if not current or sub(current, 1, 12) ~= sub(versions[i], 1, 12) then return 0, data, entry end
      if current ~= versions[i] then what = 2 end
    end
  end
  return what, data, entry
end
