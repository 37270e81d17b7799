-- Find a page that can be used; where there is none, or it is to be made anew, take the lease if nobody has it.
-- KEYS[1]  the hash of its URL, see page.lua
-- KEYS[2..] the versions of the tags that what is made will have, left out where they are on other servers
-- ARGV     1 now, 2 what stands before a tag's name in its key ('' they are on other servers), 3 the names it is thought to vary by, 4 the variant that
--          follows from these, 5 '1': with its body, 6 owner ('' does not take the lease), 7 '1': also where there is
--          nothing, 8 '1': also where it is fresh, 9 how many times its cost before its end a page is made anew ('' never),
--          10 when one was stored that is not to be used, or '', 11 lease in us where no cost is known, 12 and 13 the
--          shortest and the longest, 14 random bytes
-- Reply    {what: 0 nothing | 1 fresh | 2 stale | 3 nothing that can be read | 4 it varies by other names, lease: 1 it is
--          yours | 0 another's | 2 another's, 3 yours, but what is made can hardly be used | -1 not wanted, us it lasts, now, when it
--          became stale before its time or 0, the page without its body or the names, the body or '', 1 if it is known by which
--          names it varies, the versions of the tags if the lease is yours}
-- The tags of a page stand in it; where they are on other servers who asked must look at them.
--include page
local variant, owner = ARGV[4], ARGV[6]
local got = pcall('HMGET', KEYS[1], 'v', 'm:' .. variant, 'l:' .. variant, 'p:' .. variant)
local what = 0
if got.err then
  if owner ~= '' then call('UNLINK', KEYS[1]) end
  got, what = {false, false, false, false}, 3
end
if got[1] and got[1] ~= ARGV[3] then return {4, -1, 0, now, 0, got[1], ''} end

local meta, body, soft = got[2], '', 0
local page = opened(meta)
if meta and (not page or string.format('%.0f', page.stored) == ARGV[10]) then
  what = 3
elseif page and now < page.last then
  what = now < page.fresh and 1 or 2
  if page.tags > 0 and ARGV[2] ~= '' then
    local keys, versions = {}, {}
    for i = 1, page.tags do
      local at = HEAD + (i - 1) * TAG
      keys[i] = ARGV[2] .. sub(meta, at + 1, at + 32) .. '}:v'
      versions[i] = sub(meta, at + 33, at + TAG)
    end
    for i, current in ipairs(call('MGET', unpack(keys))) do
      if not is_version(current) or sub(current, 1, 12) ~= sub(versions[i], 1, 12) then what = 0 break end
      if current ~= versions[i] then
        local at = us_at(current, 13)
        what, soft = 2, soft == 0 and at or math.min(soft, at)
      end
    end
  end
end
if (what == 1 or what == 2) and ARGV[5] == '1' then
  body = call('HGET', KEYS[1], 'b:' .. variant)
  if not body then what, body = 3, '' end
end

local early = false
if what == 1 and ARGV[9] ~= '' then
  early = now + page.cost * ARGV[9] >= page.fresh and page.fresh - now <= (page.fresh - page.stored) / 5
end
local reply = {what, -1, 0, now, soft, (what == 1 or what == 2) and meta or '', body, got[1] and 1 or 0}
local wanted = what == 2 or early or (what == 1 and ARGV[8] == '1') or (what ~= 1 and ARGV[7] == '1')
if owner == '' or not wanted then return reply end

local lease = got[3]
local useless = got[4] and #got[4] == 8 and us_at(got[4], 1) > now
if lease and #lease > 16 and us_at(lease, 1) > now and not is_owners(lease, owner) then
  reply[2] = useless and 2 or 0
  reply[3] = us_at(lease, 1) - now
  return reply
end
local us = tonumber(ARGV[11])
if page and page.cost > 0 then us = math.min(math.max(3 * page.cost, tonumber(ARGV[12])), tonumber(ARGV[13])) end
call('HSET', KEYS[1], 'l:' .. variant, struct.pack('>I8I8', now + us, now) .. owner)
lives(KEYS[1], us / 1000)
reply[2], reply[3] = useless and 3 or 1, us
for i = 2, #KEYS do reply[i + 7] = version_of(KEYS[i], ARGV[14], TAG_MS) end
return reply
