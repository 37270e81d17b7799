-- Decide all limits of one request, then take from all of them or from none. With the mode 'peek' nothing is written.
-- KEYS[1]  the lists: a sorted set of 'a<client>' (never refused) and 'd<client>' (refused until its score, in us);
--          whoever was told a moment ago that there is nobody on them need not name the client
-- KEYS[2+] one for each limit and client, see commands.py for what is kept there
-- ARGV     now in us ('' asks the server's clock), 'take' or 'peek', id of this request, number of names of the client,
--          'a' and each name, 'd' and each name, then for each limit:
--          kind, amount, unit in us (for 'f' in months: -months), burst (for 'f': offset of the calendar in us),
--          flags (c charge denied requests too, s shadow, r keep the id so that it can be given back, l and a number:
--          take up to so many ahead, at most half of what is left),
--          strikes ('' or 'after:ban in us:factor:cap in us'), cost
-- Reply    {'listed'} | {'refused', us until that ends, -1 never} | {'' or 'nobody' (is on the lists),
--          for each limit: 1 passed or 0 denied or 2 banned, what remains, us until full, us to wait, mark for settle.lua,
--          units taken}
-- Numbers go whole into commands (17 digits) and replies (integers); only Lua's own printing would round them.
local RING = 17
local call, floor, ceil, max, min = redis.call, math.floor, math.ceil, math.max, math.min

local now = tonumber(ARGV[1])
if not now then
  local time = call('TIME')
  now = time[1] * 1000000 + time[2]
end
local take, names = ARGV[2] == 'take', tonumber(ARGV[4])
local base = 4 + 2 * names

local head = ''
if names > 0 then
  local scores = call('ZMSCORE', KEYS[1], unpack(ARGV, 5, base))
  for i = 1, names do
    if scores[i] then return {'listed'} end
  end
  for i = names + 1, 2 * names do
    if scores[i] then
      local ends = tonumber(scores[i])
      if ends == math.huge then return {'refused', -1} end
      if ends > now then return {'refused', ends - now} end
    end
  end
  if call('EXISTS', KEYS[1]) == 0 then head = 'nobody' end
end

-- The window of a calendar's months that a moment is in, and the moment at which one ends, in UTC and us.
local function window_of_months(us, months)
  local z = floor(us / 86400000000) + 719468
  local era = floor(z / 146097)
  local doe = z - era * 146097
  local yoe = floor((doe - floor(doe / 1460) + floor(doe / 36524) - floor(doe / 146096)) / 365)
  local mp = floor((5 * (doe - (365 * yoe + floor(yoe / 4) - floor(yoe / 100))) + 2) / 153)
  return floor(((yoe + era * 400 - 1970) * 12 + mp + 2) / months)
end
local function end_of_months(window, months)
  local month = (window + 1) * months - 2
  local y, mp = 1970 + floor(month / 12), month % 12
  local era = floor(y / 400)
  local yoe = y - era * 400
  local doe = yoe * 365 + floor(yoe / 4) - floor(yoe / 100) + floor((153 * mp + 2) / 5)
  return (era * 146097 + doe - 719468) * 86400000000
end

-- First look at all of them. What is found of each limit stays in `seen` for the writing below.
local seen, passed, all = {}, {}, true
for i = 2, #KEYS do
  local at = base + 7 * (i - 2)
  local key, kind, amount, unit, cost = KEYS[i], ARGV[at + 1], tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]),
    tonumber(ARGV[at + 7])
  -- Made with all its places at once, which is quicker than to let it grow.
  local s = { key = key, kind = kind, amount = amount, unit = unit, cost = cost, used = 0, here = 0, last = false,
    mark = 0, full = 0, span = 0, busy = 0, stale = false, gone = false, fresh = false, banned = 0 }
  if kind == 's' then
    -- Sub-windows in a ring: n the last one written, t the sum of those that count, 0 to 16 what each holds.
    local slot = floor(now / unit)
    local got = call('HMGET', key, 'n', 't', slot % RING)
    local last = tonumber(got[1])
    if last and last > slot then
      if last - slot < RING then
        slot = last -- the clock was set back a little: time stands still meanwhile
        got[3] = call('HGET', key, slot % RING)
      else
        s.stale = true
      end
    end
    if last and (slot - last >= RING or s.stale) then
      s.stale = true
    elseif last then
      s.used = tonumber(got[2])
      if last == slot then
        s.here = tonumber(got[3]) or 0
      elseif s.used > 0 then
        s.gone = {}
        for old = last + 1, slot do s.gone[old - last] = old % RING end
        for _, held in ipairs(call('HMGET', key, unpack(s.gone))) do s.used = s.used - (tonumber(held) or 0) end
      end
    end
    s.last, s.mark = last or false, slot
  elseif kind == 'g' then
    -- The theoretical arrival time t of the next request if all kept to the rate, which since b was never in the past;
    -- x is when the key expires.
    local got = call('HMGET', key, 't', 'b', 'x')
    s.full, s.last = max(tonumber(got[1]) or 0, now), tonumber(got[3]) or 0
    s.busy = s.full > now and tonumber(got[2]) or now
    s.span, s.mark = tonumber(ARGV[at + 4]) * unit, now
  elseif kind == 'f' then
    -- A window w of the calendar and what was counted in it.
    local window
    if unit < 0 then
      window = window_of_months(now, -unit)
    else
      window = floor((now + tonumber(ARGV[at + 4])) / unit)
    end
    local got = call('HMGET', key, 'w', 'c')
    local before = tonumber(got[1])
    if before and before >= window then
      if before - window < 2 then
        window, s.used = before, tonumber(got[2])
      end
    end
    if unit < 0 then
      s.full = end_of_months(window, -unit)
    else
      s.full = (window + 1) * unit - tonumber(ARGV[at + 4])
    end
    s.fresh, s.mark = before ~= window, window
  else
    s.used = call('ZCOUNT', key, string.format('(%.0f', now), '+inf')
  end
  if kind == 'g' then
    passed[i] = s.full + cost * unit - now <= s.span
  else
    passed[i] = s.used + cost <= amount
  end
  if ARGV[at + 6] ~= '' then
    -- k denials in a row, l bans so far, u the end of the one under way, e how long all this is remembered.
    local got = call('HMGET', key, 'k', 'l', 'u', 'e')
    s.strikes, s.bans, s.banned, s.kept = tonumber(got[1]) or 0, tonumber(got[2]) or 0, tonumber(got[3]) or 0,
      tonumber(got[4]) or 0
    s.struck = s.strikes > 0
    if s.kept <= now then s.strikes, s.bans = 0, 0 end
    if s.banned > now then passed[i] = false else s.banned = 0 end
  end
  if not passed[i] and not string.find(ARGV[at + 5], 's', 1, true) then all = false end
  seen[i] = s
end

local reply, n = {head}, 1
for i = 2, #KEYS do
  local at, s = base + 7 * (i - 2), seen[i]
  local key, unit, cost, flags, strikes = s.key, s.unit, 0, ARGV[at + 5], ARGV[at + 6]
  local charge, ahead, reserve = false, false, false
  if flags ~= '' then
    charge, reserve = string.find(flags, 'c', 1, true), string.find(flags, 'r', 1, true)
    ahead = tonumber(string.match(flags, 'l(%d+)'))
  end
  if take and ((all and passed[i]) or charge) then cost = s.cost end
  if ahead and cost > 0 and all and passed[i] then
    cost = max(cost, min(ahead, floor((s.amount - s.used) / 2)))
  end
  if cost > 0 and not (all and passed[i]) then
    -- What is charged for a denied request never reaches beyond twice the limit: nobody is shut out for ever.
    if s.kind == 'g' then
      cost = max(0, min(cost, floor((2 * s.span - (s.full - now)) / unit)))
    else
      cost = max(0, min(cost, 2 * s.amount - s.used))
    end
  end
  local reset, lives = 0, 0
  if s.kind == 's' then
    local slot = s.mark
    if cost > 0 then
      if s.stale then
        call('HDEL', key, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16)
      elseif s.gone then
        call('HDEL', key, unpack(s.gone))
      end
      call('HSET', key, 'n', slot, 't', s.used + cost, slot % RING, s.here + cost)
      if s.last ~= slot then lives = (slot + RING) * unit - now end
    end
    if cost > 0 then
      reset = (slot + RING) * unit - now
    elseif s.used > 0 then
      reset = (s.last + RING) * unit - now
    end
  elseif s.kind == 'g' then
    if cost > 0 then
      local full = s.full + cost * unit
      if full <= s.last then
        call('HSET', key, 't', full, 'b', s.busy)
      else
        -- Later than needed, so that it need not be told again each time.
        lives = full + s.span - now
        call('HSET', key, 't', full, 'b', s.busy, 'x', full + s.span)
      end
    end
    s.used, reset = (s.full - now) / unit, s.full + cost * unit - now
  elseif s.kind == 'f' then
    if cost > 0 then
      call('HSET', key, 'w', s.mark, 'c', s.used + cost)
      if s.fresh then lives = s.full - now end
    end
    if s.used + cost > 0 then reset = s.full - now end
  elseif cost > 0 then
    call('ZREMRANGEBYSCORE', key, '-inf', now)
    call('ZADD', key, now + unit, ARGV[3])
    call('PEXPIRE', key, ceil(unit / 1000) + 1)
  end

  local wait = 0
  if not passed[i] then
    if s.banned > 0 then
      wait = s.banned - now
    elseif s.kind == 's' then
      -- The oldest leave first: wait until enough of them have.
      local excess, slot = s.used + cost + s.cost - s.amount, s.mark
      wait = reset
      if cost == 0 and s.used > 0 then
        local ring = call('HMGET', key, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16)
        for old = slot - RING + 1, s.last do
          excess = excess - (tonumber(ring[old % RING + 1]) or 0)
          if excess <= 0 then
            wait = (old + RING) * unit - now
            break
          end
        end
      end
    elseif s.kind == 'g' then
      wait = min(s.full + (cost + s.cost) * unit - s.span, s.full + cost * unit) - now
    elseif s.kind == 'f' then
      wait = s.full - now
    else
      wait = 1000000
    end
  end

  if strikes ~= '' and take then
    if passed[i] then
      if all and s.struck then call('HDEL', key, 'k') end
    elseif s.banned == 0 then
      local after, ban, factor, cap = string.match(strikes, '^(%d+):(%d+):(%d+):(%d+)$')
      s.strikes = s.strikes + 1
      if s.strikes >= tonumber(after) then
        wait = max(wait, min(tonumber(ban) * tonumber(factor) ^ s.bans, tonumber(cap)))
        s.strikes, s.bans, s.banned = 0, min(s.bans + 1, 64), now + wait
        -- As long again as the ban itself without another one, and it is forgotten.
        s.kept = max(s.kept, now + 2 * wait)
      else
        s.kept = max(s.kept, now + tonumber(ban))
      end
      call('HSET', key, 'k', s.strikes, 'l', s.bans, 'u', s.banned, 'e', s.kept)
      lives = max(lives, s.kept - now)
    end
  end
  if lives > 0 then
    if strikes ~= '' then lives = max(lives, s.kept - now, call('PTTL', key) * 1000) end
    call('PEXPIRE', key, ceil(lives / 1000) + 1)
  end
  if reserve and cost > 0 then
    call('SET', key .. ':' .. ARGV[3], '1', 'PX', ceil(max(reset, 1000000) / 1000) + 60000)
  end

  local left
  if s.kind == 'g' then
    left = floor((s.span - (s.full + cost * unit - now)) / unit)
  else
    left = s.amount - s.used - cost
  end
  reply[n + 1] = passed[i] and 1 or (s.banned > 0 and 2 or 0)
  reply[n + 2] = max(0, left)
  reply[n + 3] = reset
  reply[n + 4] = ceil(wait)
  reply[n + 5] = s.mark
  reply[n + 6] = cost
  n = n + 6
end
return reply
