-- Raises the epoch of an open record and reads it, in one step: whoever held it before is fenced.
local only_orphaned, lease, publish = ARGV[1] == '1', tonumber(ARGV[2]), ARGV[3]

local record = find()
if not record then return {'missing'} end
if record.closed or (only_orphaned and is_leased(record)) then return {'refused', page(record)} end

record.epoch = record.epoch + 1
record.lease, record.lease_ends = lease, now + lease
local view = page(record)
local changes = {'epoch', whole(record.epoch)}
insist(record)
renew(record, changes, lease, record.ttl)
redis.call('HSET', META, unpack(changes))
tell(publish, {LOG, CLAIM}, record)
return {'done', view}
