-- Add to an integer, which lasts as long as it would have.
-- KEYS[1]  the entry, see entry.lua; KEYS[2] is used in between and left empty: Lua's own numbers have 53 bits
-- ARGV     1 now, 2 what stands before a tag's name in its key, 3 how much, 4 the format of integers: their digits,
--          5.. for each tag on another server its name and version
-- Reply    the new integer as text | 0 there is no fresh entry | 1 it is no integer | 2 it would have over 64 bits
--include found
local what, data, entry = found(KEYS[1], '', apart and told_from(5))
if what ~= 1 then return 0 end
if entry.flags ~= tonumber(ARGV[4]) then return 1 end
call('SET', KEYS[2], sub(data, entry.body + 1), 'PX', 1000)
local added = pcall('INCRBY', KEYS[2], ARGV[3])
local digits = call('GET', KEYS[2])
call('UNLINK', KEYS[2])
if type(added) == 'table' then return 2 end
call('SET', KEYS[1], sub(data, 1, 32) .. struct.pack('>I4', #digits) .. sub(data, 37, entry.body) .. digits, 'KEEPTTL')
return digits
