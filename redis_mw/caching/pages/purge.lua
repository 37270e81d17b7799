-- Forget all of a URL, and have nothing stored that is being made of it.
-- KEYS[1]  its hash, see page.lua
-- ARGV     1 now
-- Reply    1 there was something | 0 nothing
--include page
local gone = call('UNLINK', KEYS[1])
if gone == 1 then wake(KEYS[1]) end
return gone
