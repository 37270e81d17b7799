-- Take names off a user's index.
-- KEYS[1]  the index
-- ARGV     number of names that are known to have ended, those names, then names whose session was not found
-- Reply    how many were taken off
-- A session is noted here before it is written, so one that was not found goes only if it was noted over a minute ago.
local count, known = 0, tonumber(ARGV[1])
for i = 2, known + 1 do count = count + redis.call('ZREM', KEYS[1], ARGV[i]) end
local seconds = tonumber(redis.call('TIME')[1])
for i = known + 2, #ARGV do
  local score = redis.call('ZSCORE', KEYS[1], ARGV[i])
  if score and (seconds - tonumber(score)) % 1048576 > 60 then
    count = count + redis.call('ZREM', KEYS[1], ARGV[i])
  end
end
return count
