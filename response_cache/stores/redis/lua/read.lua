-- Reads one consistent view of a record: its snapshot and the events after it, or those after a number.
local record = find()
if not record then return {'missing'} end
return {'done', page(record, tonumber(ARGV[1]), tonumber(ARGV[2]))}
