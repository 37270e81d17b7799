-- Note a session in its user's index, before the session itself is written, so that revoking can never miss one.
-- KEYS[1]  the index: a sorted set of session names
-- ARGV     name, longest life in us, most sessions or 0, 'evict' or 'refuse',
--          number of names whose session was not found, those names, then names to evict first
-- Reply    {'noted', names evicted ...} | {'refused'}: nothing was added
-- A score is the session's deadline in seconds times 2^20 plus the second it was noted in modulo 2^20 (exact in a double).
local seconds = tonumber(redis.call('TIME')[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('(%.0f', seconds * 1048576))
local last = 5 + tonumber(ARGV[5])
for i = 6, last do
  -- Noted before it is written: one that was not found is over only if it was noted more than a minute ago.
  local score = redis.call('ZSCORE', KEYS[1], ARGV[i])
  if score and (seconds - tonumber(score)) % 1048576 > 60 then redis.call('ZREM', KEYS[1], ARGV[i]) end
end
local reply, most = {'noted'}, tonumber(ARGV[3])
if most > 0 and not redis.call('ZSCORE', KEYS[1], ARGV[1]) then
  local surplus = redis.call('ZCARD', KEYS[1]) - most + 1
  if surplus > 0 then
    if ARGV[4] == 'refuse' then return {'refused'} end
    local names = {}
    for i = last + 1, #ARGV do names[#names + 1] = ARGV[i] end
    -- Somebody may have come in since those were looked at: after them, whatever ends first.
    for _, name in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do names[#names + 1] = name end
    for _, name in ipairs(names) do
      if surplus > 0 and redis.call('ZREM', KEYS[1], name) == 1 then
        reply[#reply + 1] = name
        surplus = surplus - 1
      end
    end
  end
end
-- A minute more than the session has: its own script reads the clock a moment later.
local deadline = seconds + math.ceil(tonumber(ARGV[2]) / 1000000) + 60
redis.call('ZADD', KEYS[1], 'GT', string.format('%.0f', deadline * 1048576 + seconds % 1048576), ARGV[1])
local latest = tonumber(redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2])
redis.call('EXPIREAT', KEYS[1], string.format('%.0f', math.floor(latest / 1048576)))
return reply
