-- Decide all limits of one request, then take from all of them or from none. With the mode 'peek' nothing is written.
-- KEYS[1]  the lists: a sorted set of 'a<client>' (never refused) and 'd<client>' (refused until its score, in us)
-- KEYS[2+] one for each limit and client, see commands.py for what is kept there
-- ARGV     now in us ('' asks the server's clock), 'take' or 'peek', id of this request, number of names of the client,
--          those names, then for each limit:
--          kind, amount, unit in us (for 'f' in months: -months), burst (for 'f': offset of the calendar in us), cost,
--          flags (c charge denied requests too, s shadow, r keep the id so that it can be given back, l and a number:
--          take up to so many ahead, at most half of what is left),
--          strikes ('' or 'after:ban in us:factor:cap in us')
-- Reply    {'listed'} | {'refused', us until that ends, -1 never} | {'',
--          for each limit: 1 passed or 0 denied or 2 banned, what remains, us until full, us to wait, mark for settle.lua,
--          units taken}
-- Lua numbers become integers in a reply; no number is printed on the way.
local RING = 17

local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
local take, id, names = ARGV[2] == 'take', ARGV[3], tonumber(ARGV[4])
local base = 4 + names

if names > 0 then
  local members = {}
  for i = 1, names do
    members[i], members[names + i] = 'a' .. ARGV[4 + i], 'd' .. ARGV[4 + i]
  end
  local scores = redis.call('ZMSCORE', KEYS[1], unpack(members))
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
end

-- Calendar months since 1970, and the moment one begins, by the civil calendar (UTC), in us.
local function month_of(us)
  local z = math.floor(us / 86400000000) + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe =
    math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local mp = math.floor((5 * (doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))) + 2) / 153)
  return (yoe + era * 400 - 1970) * 12 + mp + 2
end
local function month_begins(month)
  local y, mp = 1970 + math.floor((month - 2) / 12), (month - 2) % 12
  local era = math.floor(y / 400)
  local yoe = y - era * 400
  local doe = yoe * 365 + math.floor(yoe / 4) - math.floor(yoe / 100) + math.floor((153 * mp + 2) / 5)
  return (era * 146097 + doe - 719468) * 86400000000
end

-- First look at all of them. What is found of each limit stays in `seen` for the writing below.
local seen, passed, all = {}, {}, true
for i = 2, #KEYS do
  local at = base + 7 * (i - 2)
  local key, kind, amount, unit, cost = KEYS[i], ARGV[at + 1], tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]),
    tonumber(ARGV[at + 5])
  local s = { key = key, kind = kind, amount = amount, unit = unit, cost = cost, used = 0 }
  if kind == 's' then
    -- Sub-windows in a ring: n the last one written, t the sum of those that count, 0 to 16 what each holds.
    local slot = math.floor(now / unit)
    local got = redis.call('HMGET', key, 'n', 't', slot % RING)
    local last = tonumber(got[1])
    if last and last > slot then
      if last - slot < RING then
        slot = last -- the clock was set back a little: time stands still meanwhile
        got[3] = redis.call('HGET', key, slot % RING)
      else
        s.stale = true
      end
    end
    if last and (slot - last >= RING or s.stale) then
      s.stale = true
    elseif last then
      s.used, s.here = tonumber(got[2]), 0
      if last == slot then
        s.here = tonumber(got[3]) or 0
      elseif s.used > 0 then
        s.gone = {}
        for n = last + 1, slot do s.gone[n - last] = n % RING end
        for _, held in ipairs(redis.call('HMGET', key, unpack(s.gone))) do s.used = s.used - (tonumber(held) or 0) end
      end
    end
    s.last, s.mark = last, slot
  elseif kind == 'g' then
    -- The theoretical arrival time t of the next request if all kept to the rate; since b it was never in the past.
    local got = redis.call('HMGET', key, 't', 'b')
    s.full, s.busy = math.max(tonumber(got[1]) or 0, now), now
    if s.full > now then s.busy = tonumber(got[2]) end
    s.span, s.mark = tonumber(ARGV[at + 4]) * unit, now
  elseif kind == 'f' then
    -- A window w of the calendar and what was counted in it.
    local window
    if unit < 0 then
      window = math.floor(month_of(now) / -unit)
    else
      window = math.floor((now + tonumber(ARGV[at + 4])) / unit)
    end
    local got = redis.call('HMGET', key, 'w', 'c')
    local before = tonumber(got[1])
    if before and before >= window then
      if before - window < 2 then
        window, s.used = before, tonumber(got[2])
      end
    end
    if unit < 0 then
      s.full = month_begins((window + 1) * -unit)
    else
      s.full = (window + 1) * unit - tonumber(ARGV[at + 4])
    end
    s.fresh, s.mark = before ~= window, window
  else
    s.used, s.mark = redis.call('ZCOUNT', key, string.format('(%.0f', now), '+inf'), 0
  end
  if kind == 'g' then
    passed[i] = s.full + cost * unit - now <= s.span
  else
    passed[i] = s.used + cost <= amount
  end
  if ARGV[at + 7] ~= '' then
    -- k denials in a row, l bans so far, u the end of the one under way, e how long all this is remembered.
    local got = redis.call('HMGET', key, 'k', 'l', 'u', 'e')
    s.strikes, s.bans, s.banned, s.kept = tonumber(got[1]) or 0, tonumber(got[2]) or 0, tonumber(got[3]) or 0,
      tonumber(got[4]) or 0
    s.struck = s.strikes > 0
    if s.kept <= now then s.strikes, s.bans = 0, 0 end
    if s.banned > now then passed[i] = false else s.banned = 0 end
  end
  if not passed[i] and not string.find(ARGV[at + 6], 's', 1, true) then all = false end
  seen[i] = s
end

local reply = {''}
for i = 2, #KEYS do
  local at, s = base + 7 * (i - 2), seen[i]
  local key, unit, cost, charge = s.key, s.unit, 0, string.find(ARGV[at + 6], 'c', 1, true)
  if take and ((all and passed[i]) or charge) then cost = s.cost end
  local ahead = tonumber(string.match(ARGV[at + 6], 'l(%d+)'))
  if ahead and cost > 0 and all and passed[i] then
    cost = math.max(cost, math.min(ahead, math.floor((s.amount - s.used) / 2)))
  end
  if cost > 0 and not (all and passed[i]) then
    -- What is charged for a denied request never reaches beyond twice the limit: nobody is shut out for ever.
    if s.kind == 'g' then
      cost = math.max(0, math.min(cost, math.floor((2 * s.span - (s.full - now)) / unit)))
    else
      cost = math.max(0, math.min(cost, 2 * s.amount - s.used))
    end
  end
  local reset, lives = 0, 0
  if s.kind == 's' then
    local slot = s.mark
    if cost > 0 then
      if s.stale then
        redis.call('HDEL', key, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16)
      elseif s.gone then
        redis.call('HDEL', key, unpack(s.gone))
      end
      redis.call('HSET', key, 'n', slot, 't', s.used + cost, slot % RING, (s.here or 0) + cost)
      if s.last ~= slot then lives = (slot + RING) * unit - now end
    end
    if cost > 0 then
      reset = (slot + RING) * unit - now
    elseif s.used > 0 then
      reset = (s.last + RING) * unit - now
    end
  elseif s.kind == 'g' then
    if cost > 0 then
      redis.call('HSET', key, 't', string.format('%.0f', s.full + cost * unit), 'b', string.format('%.0f', s.busy))
      lives = s.full + cost * unit - now
    end
    s.used, reset = (s.full - now) / unit, s.full + cost * unit - now
  elseif s.kind == 'f' then
    if cost > 0 then
      redis.call('HSET', key, 'w', s.mark, 'c', s.used + cost)
      if s.fresh then lives = s.full - now end
    end
    if s.used + cost > 0 then reset = s.full - now end
  elseif cost > 0 then
    redis.call('ZREMRANGEBYSCORE', key, '-inf', string.format('%.0f', now))
    redis.call('ZADD', key, string.format('%.0f', now + unit), id)
    redis.call('PEXPIRE', key, math.ceil(unit / 1000) + 1)
  end

  local wait = 0
  if not passed[i] then
    if s.banned and s.banned > 0 then
      wait = s.banned - now
    elseif s.kind == 's' then
      -- The oldest leave first: wait until enough of them have.
      local excess, slot = s.used + cost + s.cost - s.amount, s.mark
      wait = reset
      if cost == 0 and s.used > 0 then
        local ring = redis.call('HMGET', key, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16)
        for n = slot - RING + 1, s.last do
          excess = excess - (tonumber(ring[n % RING + 1]) or 0)
          if excess <= 0 then
            wait = (n + RING) * unit - now
            break
          end
        end
      end
    elseif s.kind == 'g' then
      wait = math.min(s.full + (cost + s.cost) * unit - s.span, s.full + cost * unit) - now
    elseif s.kind == 'f' then
      wait = s.full - now
    else
      wait = 1000000
    end
  end

  local strikes = ARGV[at + 7]
  if strikes ~= '' and take then
    if passed[i] then
      if all and s.struck then redis.call('HDEL', key, 'k') end
    elseif s.banned == 0 then
      local after, ban, factor, cap = string.match(strikes, '^(%d+):(%d+):(%d+):(%d+)$')
      s.strikes = s.strikes + 1
      if s.strikes >= tonumber(after) then
        wait = math.max(wait, math.min(tonumber(ban) * tonumber(factor) ^ s.bans, tonumber(cap)))
        s.strikes, s.bans, s.banned = 0, math.min(s.bans + 1, 64), now + wait
        -- As long again as the ban itself without another one, and it is forgotten.
        s.kept = math.max(s.kept, now + 2 * wait)
      else
        s.kept = math.max(s.kept, now + tonumber(ban))
      end
      redis.call('HSET', key, 'k', s.strikes, 'l', s.bans, 'u', string.format('%.0f', s.banned), 'e',
        string.format('%.0f', s.kept))
      lives = math.max(lives, s.kept - now)
    end
  end
  if lives > 0 then
    if strikes ~= '' then lives = math.max(lives, s.kept - now, redis.call('PTTL', key) * 1000) end
    redis.call('PEXPIRE', key, math.ceil(lives / 1000) + 1)
  end
  if cost > 0 and s.kind ~= 'c' and string.find(ARGV[at + 6], 'r', 1, true) then
    redis.call('SET', key .. ':' .. id, '1', 'PX', math.ceil(math.max(reset, 1000000) / 1000) + 60000)
  end

  local left
  if s.kind == 'g' then
    left = math.floor((s.span - (s.full + cost * unit - now)) / unit)
  else
    left = s.amount - s.used - cost
  end
  reply[#reply + 1] = passed[i] and 1 or (s.banned and s.banned > 0 and 2 or 0)
  reply[#reply + 1] = math.max(0, left)
  reply[#reply + 1] = reset
  reply[#reply + 1] = math.ceil(wait)
  reply[#reply + 1] = s.mark
  reply[#reply + 1] = cost
end
return reply
