-- Who holds a lock, who waits for it, and how it goes from one to the next; `now.lua` stands before this.
-- Made only where it is needed: most locks are free, and to make this takes longer than to take one. So a script has it
-- behind what is nearly always enough.
local GRANT = 1000000       -- us: how long a lock waits for somebody who was not there to hear that it is his

local function queue()
  local pcall, ceil, max, min = redis.pcall, math.ceil, math.max, math.min
  local mine = {}
  for i, key in ipairs(KEYS) do mine[i] = string.sub(key, 1, -2) end

  local function is_shared(token)
    return string.sub(token, 1, 1) == 's'
  end

  -- Who holds the lock for the longest, and until when; nothing if nobody does. All who hold it are of one kind.
  local function holder(lock)
    local last = call('ZRANGE', lock .. 'h', -1, -1, 'WITHSCORES')
    if last[1] and tonumber(last[2]) > now then return last[1], tonumber(last[2]) end
  end

  local function would_share(lock, token)
    local holds = holder(lock)
    return not holds or (is_shared(holds) and is_shared(token))
  end

  local function parts(entry)
    local token, wait, ttl, names = string.match(entry, '^([^|]+)|(%d+)|(%d+)|(.*)$')
    return token, tonumber(wait), tonumber(ttl), names
  end

  -- Who is next, and when he stops waiting; nothing if nobody is. Those who have stopped are dropped.
  local function first(lock)
    while true do
      local head = call('ZRANGE', lock .. 'q', 0, 0, 'WITHSCORES')
      if not head[1] then return end
      local _, wait = parts(head[1])
      if head[2] + wait > now then return head[1], head[2] + wait end
      call('ZREM', lock .. 'q', head[1])
    end
  end

  -- A fencing token above all that these locks have had. At least the time in us, so it is above them even where the
  -- last one has been forgotten: after a day, or by a server that took over from another one.
  local function draw(locks)
    local fence = now
    for _, lock in ipairs(locks) do
      fence = max(fence, (tonumber(call('SET', lock .. 'f', fence, 'PX', FENCE, 'GET')) or 0) + 1)
    end
    -- As nearly always, the time alone is above the last one, and all is said.
    if fence > now then
      for _, lock in ipairs(locks) do call('SET', lock .. 'f', fence, 'PX', FENCE) end
    end
    return fence
  end

  -- Have the lock be held by the token as well until `ends`; whether somebody is put out whose lease was over.
  local function hold(lock, token, ends)
    local over = call('ZREMRANGEBYSCORE', lock .. 'h', '-inf', now) > 0
    call('ZADD', lock .. 'h', ends, token)
    local last = ends
    if is_shared(token) then last = tonumber(call('ZRANGE', lock .. 'h', -1, -1, 'WITHSCORES')[2]) end
    call('PEXPIRE', lock .. 'h', ceil((last - now) / 1000) + LINGER)
    return over
  end

  local function channel_of(token)
    return string.match(KEYS[1], '^([^{]*)') .. 'w:' .. string.match(token, '^.(.*)%.')
  end

  -- Those who wait look again when they have been told that something may change. Where it may change earlier than at
  -- `known`, which is what they were told, have all of them look now. That is rare: a lease that is shorter than the
  -- one before, or somebody who may be dead.
  local function hasten(lock, known)
    local _, ends = holder(lock)
    if not ends then _, ends = first(lock) end
    if ends and ends < known then
      for _, entry in ipairs(call('ZRANGE', lock .. 'q', 0, -1)) do pcall('PUBLISH', channel_of(parts(entry)), '') end
    end
  end

  -- Give an entry its locks and say so on its channel: 'token fence now ttl over', see commands.py. Where nobody listens there,
  -- he may be dead, or not yet listening: then it is his for a moment only, and he finds it when he looks.
  local function give(entry, stops, token, ttl, locks, over)
    local fence, heard = draw(locks), pcall('PUBSUB', 'NUMSUB', channel_of(token))
    if (heard[2] or 0) == 0 then ttl = min(ttl, GRANT) end
    for _, lock in ipairs(locks) do
      call('ZREM', lock .. 'q', entry)
      hold(lock, token, now + ttl)
      if locks[2] then hasten(lock, stops) end
    end
    pcall('PUBLISH', channel_of(token), string.format('%s %.0f %.0f %.0f %d', token, fence, now, ttl, over and 1 or 0))
  end

  local function locks_of(lock, names)
    if names == '' then return {lock} end
    local head, locks = string.match(lock, '^([^{]*)'), {}
    for name in string.gmatch(names, '[^,]+') do locks[#locks + 1] = head .. '{' .. name .. '}:' end
    return locks
  end

  -- Let those who wait have what is free, strictly in their order: nobody passes a writer who waits for readers, and
  -- nobody the one who waits for several locks, which he gets all at once when he is first for each of them. `over`:
  -- whoever was before did not give it back. Returns who waits then at each lock, and who was given one.
  local function advance(locks, over)
    local waits, given, at = {}, {}, 1
    while locks[at] do
      local lock = locks[at]
      local entry, stops = first(lock)
      while entry do
        local token, _, ttl, names = parts(entry)
        local wanted = locks_of(lock, names)
        for _, each in ipairs(wanted) do
          if (each ~= lock and first(each) ~= entry) or not would_share(each, token) then wanted = false break end
        end
        if not wanted then break end
        give(entry, stops, token, ttl, wanted, over)
        given[token] = true
        if is_shared(token) then
          -- Whoever was behind him elsewhere may read beside him.
          for _, each in ipairs(wanted) do if each ~= lock then locks[#locks + 1] = each end end
        end
        entry, stops = first(lock)
      end
      waits[lock] = entry or false
      at = at + 1
    end
    return waits, given
  end

  return {
    mine = mine, parts = parts, is_shared = is_shared, holder = holder, first = first, hold = hold, draw = draw,
    hasten = hasten, advance = advance,
  }
end
