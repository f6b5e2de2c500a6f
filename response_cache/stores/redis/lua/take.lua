-- Raises the epoch of an open record and reads it, in one step: the former holder is fenced.
local only_orphaned, raise_by = ARGV[1] == '1', tonumber(ARGV[2])
local lease, publish = tonumber(ARGV[3]), ARGV[4]

local record = find()
if not record then return {'missing'} end
if record.closed or (only_orphaned and is_leased(record)) then return {'refused', view(record)} end

record.epoch = record.epoch + raise_by
record.lease, record.lease_ends = lease, now + lease
local taken = view(record)
local changes = {'epoch', digits(record.epoch)}
write_at_maxmemory(record)
hold(record, changes, lease, record.ttl)
redis.call('HSET', META, unpack(changes))
announce(publish, {LOG, CLAIM}, record)
return {'done', taken, redis.call('HMGET', META, 'private')[1] or ''}
