-- Makes a record under one incarnation, once. A deleted id and an id of another incarnation are refused.
local incarnation, header, status = ARGV[1], ARGV[2], ARGV[3]
local snapshot, request, tail, block = ARGV[4], ARGV[5], tonumber(ARGV[6]), ARGV[7]
local lease, ttl = tonumber(ARGV[8]), tonumber(ARGV[9])

if redis.call('EXISTS', TOMBSTONE) == 1 then return {'deleted'} end
local record = find()
if record then
  if record.incarnation ~= incarnation then return {'exists'} end
  if record.epoch ~= 1 then return {'fenced', digits(record.epoch)} end
  if not record.closed then
    local changes = {}
    write_at_maxmemory(record)
    renew(record, changes, lease, ttl)
    redis.call('HSET', META, unpack(changes))
  end
  return {'done', digits(record.tail)}
end

-- First the write that needs memory: at maxmemory nothing is written, and nothing is removed.
redis.call('SET', REQUEST, request)
redis.call('UNLINK', SNAPSHOT, META, LOG) -- what is left of a lost record
redis.call('SET', SNAPSHOT, snapshot)
if tail > 0 then redis.call('XADD', LOG, digits(tail) .. '-0', 'e', block) end
local changes = {
  'incarnation', incarnation, 'epoch', '1', 'status', status, 'header', header, 'notes', '',
  'tail', digits(tail), 'through', digits(tail - 1), 'batch', '', 'closed', '0', 'log_expires', '',
}
redis.call('HSET', META, unpack(changes))
changes = {}
renew({kept_until = 0}, changes, lease, ttl)
redis.call('HSET', META, unpack(changes))
return {'done', digits(tail)}
