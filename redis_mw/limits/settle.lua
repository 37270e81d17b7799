-- Correct what a request took: give some of it back, or take more, whatever the limit says. Once for each id.
-- KEYS     one for each limit and client, as in take.lua
-- ARGV     now in us ('' asks the server's clock), id of the request, then for each limit:
--          kind, unit in us, mark (from the reply of take.lua), units to add (below 0: to give back),
--          how once is kept: 'r' the id was kept by take.lua, 'm' noted here for so many us, '' it is not,
--          and that time in us, in which what was taken can be given back
-- Reply    for each limit: 1 done, 0 not: done before, or what was taken is over already
local RING = 17
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
local reply = {}
for i, key in ipairs(KEYS) do
  local at = 2 + 6 * (i - 1)
  local kind, unit, mark, add, once = ARGV[at + 1], tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]),
    tonumber(ARGV[at + 4]), ARGV[at + 5]
  local done, first = 0, true
  if kind ~= 'c' and once == 'r' then
    first = redis.call('DEL', key .. ':' .. ARGV[2]) == 1
  elseif kind ~= 'c' and once == 'm' then
    local ms = math.ceil(tonumber(ARGV[at + 6]) / 1000) + 1
    first = redis.call('SET', key .. ':' .. ARGV[2], '1', 'NX', 'PX', ms)
  end
  if not first then
    done = 0
  elseif kind == 'c' then
    done = redis.call('ZREM', key, ARGV[2])
  elseif add == 0 then
    done = 1
  elseif kind == 's' then
    local got = redis.call('HMGET', key, 'n', 't', mark % RING)
    local last = tonumber(got[1])
    -- The place in the ring is still the mark's own if it was not passed since, and still counts.
    if last and last >= mark and last - mark < RING and math.floor(now / unit) - mark < RING then
      local held = tonumber(got[3]) or 0
      local after = math.max(0, held + add)
      redis.call('HSET', key, 't', tonumber(got[2]) + after - held, mark % RING, after)
      done = 1
    end
  elseif kind == 'g' then
    local got = redis.call('HMGET', key, 't', 'b')
    local full, busy = tonumber(got[1]) or 0, tonumber(got[2]) or 0
    if add > 0 then
      if full <= now then full, busy = now, now end
      done = 1
    elseif full > now and busy <= mark and (once == '' or now < mark + tonumber(ARGV[at + 6])) then
      -- Something was to arrive ever since, so what was taken is a part of it; else it would be others' that is given.
      done = 1
    end
    if done == 1 then
      full = math.max(now, full + add * unit)
      redis.call('HSET', key, 't', full, 'b', busy)
      local ms = math.ceil((full - now) / 1000) + 1
      if ms > redis.call('PTTL', key) then redis.call('PEXPIRE', key, ms) end
    end
  elseif kind == 'f' then
    local got = redis.call('HMGET', key, 'w', 'c')
    if tonumber(got[1]) == mark then
      redis.call('HSET', key, 'c', math.max(0, tonumber(got[2]) + add))
      done = 1
    end
  end
  reply[i] = done
end
return reply
