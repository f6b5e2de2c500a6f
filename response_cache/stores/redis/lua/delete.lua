-- Erases a record and leaves a tombstone. With a claim: only while that claim holds, and no tombstone.
local tombstone_ttl, publish = tonumber(ARGV[1]), ARGV[2]
local incarnation, epoch = ARGV[3], tonumber(ARGV[4])

local record = find()
if incarnation and not (record and not record.closed
    and record.incarnation == incarnation and record.epoch == epoch) then
  return {'done', 0}
end
redis.call('UNLINK', unpack(PARTS))
if not incarnation then redis.call('SET', TOMBSTONE, '', 'PX', tombstone_ttl) end
for _, channel in ipairs({LOG, CLAIM}) do
  redis.pcall(publish, channel, 'gone')
end
return {'done', record and 1 or 0}
