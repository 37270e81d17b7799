-- Have a lease last so long from now on, if it is not over.
-- KEYS, ARGV 1 and 3  see now.lua; ARGV 2 is ''
-- ARGV     4 ttl in us
-- Reply    1 it lasts, 0 it was over
--include now
local token, ends, known = ARGV[3], now + tonumber(ARGV[4]), {}
for i, key in ipairs(KEYS) do
  known[i] = tonumber(call('ZSCORE', key, token))
  if not known[i] or known[i] <= now then return 0 end
end

--include queue
for i, key in ipairs(KEYS) do
  call('ZADD', key, ends, token)
  local last = tonumber(call('ZRANGE', key, -1, -1, 'WITHSCORES')[2])
  call('PEXPIRE', key, math.ceil((last - now) / 1000) + LINGER)
  if ends < known[i] then queue().hasten(string.sub(key, 1, -2), known[i]) end
end
return 1
