-- Takes items from one limit, counted for everybody who shares it (GCRA).
--
-- KEYS[1]  until when, in microseconds of this server's clock, what was taken is paid for.
--          Absent: nothing is open.
-- ARGV[1]  the limit, in items a second; a second's worth may be taken at once
-- ARGV[2]  items given out without asking while this server was away
-- ARGV[3]  how many items beyond the demands are welcome
-- ARGV[4…] demands, in items; each is met whole or not at all, in this order
--
-- Answers: the items beyond the demands; the microseconds until room begins to grow (negative when
-- there is room); then 1 or 0 for each demand.

local SECOND = 1000000
-- What was given out without asking may hold others up for no longer than this.
local DEBT = 500000

local rate = tonumber(ARGV[1])
local unasked = tonumber(ARGV[2])
local welcome = tonumber(ARGV[3])

local time = redis.call('TIME')
local now = time[1] * SECOND + time[2]

-- Whatever else stands under the key counts as nothing.
local kept = redis.pcall('GET', KEYS[1])
local paid_at = type(kept) == 'string' and tonumber(kept) or now
if paid_at ~= paid_at then
  paid_at = now
end
-- A clock that was set back must not close the limit until it has caught up.
paid_at = math.min(paid_at, now + SECOND + DEBT)
paid_at = math.min(math.max(paid_at + unasked * SECOND / rate, now), now + SECOND + DEBT)

-- One microsecond makes up for what rounding takes.
local room = math.floor((now + SECOND - paid_at + 1) * rate / SECOND)
local taken = 0
local answer = {0, 0}
for place = 4, #ARGV do
  local items = tonumber(ARGV[place])
  local is_met = taken + items <= room
  if is_met then
    taken = taken + items
  end
  answer[#answer + 1] = is_met and 1 or 0
end
local beyond = math.max(0, math.min(welcome, room - taken))
paid_at = paid_at + (taken + beyond) * SECOND / rate

if paid_at > now then
  local millis = math.ceil((paid_at - now) / 1000)
  redis.call('SET', KEYS[1], string.format('%.2f', paid_at), 'PX', millis)
end
answer[1] = beyond
answer[2] = math.ceil(paid_at - now - SECOND)
return answer
