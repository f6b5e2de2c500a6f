-- Puts off the end of a closed record that would end within ttl; 0 only looks. The end of its log stays.
local incarnation, ttl = ARGV[1], tonumber(ARGV[2])

local record = find()
if not record or not record.closed or record.incarnation ~= incarnation then return {'missing'} end
if record.expires < now + ttl then
  record.expires = now + 1.5 * ttl
  expire_at({SNAPSHOT, META, REQUEST}, record.expires)
  redis.call('HSET', META, 'expires', digits(record.expires))
end
return {'done'}
