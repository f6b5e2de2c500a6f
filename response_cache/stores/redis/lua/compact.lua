-- Replaces the entries of a closed log by fewer ones with the same events, if it is still the same log.
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
expire_at({LOG}, record.log_expires)
return {'done'}
