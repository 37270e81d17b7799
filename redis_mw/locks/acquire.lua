-- Take all locks or none; else join their queues, or keep the place there. Sent again it says the same again.
-- KEYS, ARGV 1 to 3  see now.lua; a wait of 0 in the entry: do not queue
-- ARGV     4 ttl in us, 5 how many may wait for one lock
-- Reply    fencing token: they are yours, it is the time in us, and whoever was before gave them back
--          | {1 they are yours, fencing token, now in us, 1 if whoever was before did not give them back}
--          | {0 they are not, us until it is worth to look again, now in us, how many wait before you}
--          | {2 too many wait, the same}
--include now
local entry, token, ttl = ARGV[2], ARGV[3], tonumber(ARGV[4])

-- As nearly always: one lock that nobody holds and nobody waits for.
if not KEYS[2] then
  local lock = string.sub(KEYS[1], 1, -2)
  if call('EXISTS', KEYS[1], lock .. 'q') == 0 then
    call('ZADD', KEYS[1], now + ttl, token)
    call('PEXPIRE', KEYS[1], math.ceil(ttl / 1000) + LINGER)
    local last = tonumber(call('SET', lock .. 'f', now, 'PX', FENCE, 'GET'))
    if not last or last < now then return now end
    call('SET', lock .. 'f', last + 1, 'PX', FENCE)
    return {1, last + 1, now, 0}
  end
end

--include queue
local all = queue()
local mine, is_shared, holder, first, hold = all.mine, all.is_shared, all.holder, all.first, all.hold
local waits, given = all.advance({unpack(mine)}, true)

local yours, free = true, true
for _, lock in ipairs(mine) do
  local holds = holder(lock)
  local ends = holds and tonumber(call('ZSCORE', lock .. 'h', token))
  if not ends or ends <= now then yours = false end
  if waits[lock] or (holds and not (is_shared(holds) and is_shared(token))) then free = false end
end
if yours then
  for _, lock in ipairs(mine) do hold(lock, token, now + ttl) end
  return {1, tonumber(call('GET', mine[1] .. 'f')) or all.draw(mine), now, given[token] and 1 or 0}
end
if free then
  local over = 0
  for _, lock in ipairs(mine) do
    local alone = not holder(lock)
    if hold(lock, token, now + ttl) and alone then over = 1 end
  end
  return {1, all.draw(mine), now, over}
end

-- When something changes without anybody saying so: a lease ends, or somebody who is before you stops waiting.
local look = math.huge
for _, lock in ipairs(mine) do
  local _, ends = holder(lock)
  if not ends then
    local head, stops = first(lock)
    ends = head and head ~= entry and stops or math.huge
  end
  look = math.min(look, ends - now)
end
if look == math.huge then look = GRANT end

local _, wait = all.parts(entry)
if wait == 0 then return {0, look, now, 0} end
if not call('ZSCORE', mine[1] .. 'q', entry) then
  local most = tonumber(ARGV[5])
  for _, lock in ipairs(mine) do
    if call('ZCARD', lock .. 'q') >= most then
      for _, each in ipairs(call('ZRANGE', lock .. 'q', 0, -1)) do
        local _, waits_for = all.parts(each)
        if call('ZSCORE', lock .. 'q', each) + waits_for <= now then call('ZREM', lock .. 'q', each) end
      end
      if call('ZCARD', lock .. 'q') >= most then return {2, look, now, 0} end
    end
  end
  for _, lock in ipairs(mine) do
    -- Behind everybody, whatever the clock says: it may have been set back.
    local last = tonumber(call('ZRANGE', lock .. 'q', -1, -1, 'WITHSCORES')[2]) or 0
    call('ZADD', lock .. 'q', math.max(now, last + 1), entry)
    call('PEXPIRE', lock .. 'q', math.max(call('PTTL', lock .. 'q'), math.ceil(wait / 1000) + 1))
  end
end
return {0, look, now, call('ZRANK', mine[1] .. 'q', entry)}
