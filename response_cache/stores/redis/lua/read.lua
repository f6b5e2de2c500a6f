-- Reads one view of a record: its snapshot and the events after it, or the events after a number.
local record = find()
if not record then return {'missing'} end
return {'done', view(record, tonumber(ARGV[1]), tonumber(ARGV[2]))}
