-- Reads the request of a record that is there.
if not find() then return {'missing'} end
return {'done', redis.call('GET', REQUEST)}
