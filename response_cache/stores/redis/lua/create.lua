-- Makes a record under one incarnation, once; refuses a deleted id and one that another holds.
local incarnation, header, status = ARGV[1], ARGV[2], ARGV[3]
local snapshot, request, tail, block = ARGV[4], ARGV[5], tonumber(ARGV[6]), ARGV[7]
local lease, ttl = tonumber(ARGV[8]), tonumber(ARGV[9])

if redis.call('EXISTS', TOMBSTONE) == 1 then return {'deleted'} end
local record = find()
if record then
  if record.incarnation ~= incarnation then return {'exists'} end
  if record.epoch ~= 1 then return {'fenced', whole(record.epoch)} end
  if not record.closed then
    local changes = {}
    insist(record)
    renew(record, changes, lease, ttl)
    redis.call('HSET', META, unpack(changes))
  end
  return {'done', whole(record.tail)}
end

-- The first write needs memory: where that is short, nothing is written, and nothing cleared.
redis.call('SET', REQUEST, request)
redis.call('UNLINK', SNAPSHOT, META, LOG) -- what is left of a lost record
redis.call('SET', SNAPSHOT, snapshot)
if tail > 0 then redis.call('XADD', LOG, whole(tail) .. '-0', 'e', block) end
local changes = {
  'incarnation', incarnation, 'epoch', '1', 'status', status, 'header', header, 'notes', '',
  'tail', whole(tail), 'through', whole(tail - 1), 'batch', '', 'closed', '0', 'log_expires', '',
}
redis.call('HSET', META, unpack(changes))
changes = {}
renew({kept_until = 0}, changes, lease, ttl)
redis.call('HSET', META, unpack(changes))
return {'done', whole(tail)}
