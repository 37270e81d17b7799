-- Claim a key for one run, or say what became of the run that has it.
-- KEYS[1]  the record, a hash: f fingerprint of the request, o owner of the run, l when its lease ends in us,
--          n how many runs there were, r the response once one of them is complete
-- ARGV     now in us ('' asks the server's clock), fingerprint, owner, lease in us, ttl of the record in ms,
--          what becomes of a run whose lease is over: 'retry' (it is taken over) | 'unknown'
-- Reply    {'first', n}: the key is this owner's, who may ask again | {'busy', left of the lease in us} | {'orphan'}
--          {'done', r} | {'mismatch'}: another fingerprint | {'damaged'}: what stands there is no record
local found = redis.pcall('HMGET', KEYS[1], 'f', 'o', 'l', 'n', 'r')
if found.err then return {'damaged'} end
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
local run = 1
if found[1] then
  if found[1] ~= ARGV[2] then return {'mismatch'} end
  if found[5] then return {'done', found[5]} end
  local ends = tonumber(found[3])
  run = tonumber(found[4])
  if not (found[2] and ends and run) then return {'damaged'} end
  if found[2] ~= ARGV[3] then
    if ends > now then return {'busy', ends - now} end
    if ARGV[6] ~= 'retry' then return {'orphan'} end
    run = run + 1
  end
elseif found[2] or found[3] or found[4] or found[5] then
  return {'damaged'}
end
redis.call('HSET', KEYS[1], 'f', ARGV[2], 'o', ARGV[3], 'l', string.format('%.0f', now + ARGV[4]), 'n', run)
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return {'first', run}
