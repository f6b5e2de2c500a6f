-- Puts the same events into fewer entries, if the record is closed and nothing happened to it since.
local incarnation, length = ARGV[1], tonumber(ARGV[2])

local record = find()
if not record or not record.closed or record.log_expired or record.incarnation ~= incarnation
    or record.tail == 0 or redis.call('XLEN', LOG) ~= length then
  return {'changed'}
end
redis.call('UNLINK', LOG)
for index = 3, #ARGV, 2 do
  redis.call('XADD', LOG, ARGV[index] .. '-0', 'e', ARGV[index + 1])
end
keep({LOG}, math.min(record.expires, record.log_expires))
return {'done'}
