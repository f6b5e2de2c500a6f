-- Raises the epoch of an open record and reads it, in one step: the holder of before is fenced.
local only_orphaned, lease, publish = ARGV[1] == '1', tonumber(ARGV[2]), ARGV[3]

local record = find()
if not record then return {'missing'} end
if record.closed or (only_orphaned and is_leased(record)) then return {'refused', view(record)} end

record.epoch = record.epoch + 1
record.lease, record.lease_ends = lease, now + lease
local taken = view(record)
local changes = {'epoch', digits(record.epoch)}
write_at_maxmemory(record)
renew(record, changes, lease, record.ttl)
redis.call('HSET', META, unpack(changes))
announce(publish, {LOG, CLAIM}, record)
return {'done', taken}
