"""Create in the background, watch it grow, resume its stream, cancel another one."""

import sys
import time

from openai import OpenAI

client = OpenAI(base_url=sys.argv[1], api_key="a key of your own")
text = "The quick brown fox jumps over the lazy dog"

response = client.responses.create(model="echo", input=text, background=True)
while response.status in ("queued", "in_progress"):
    print(response.status, repr(response.output_text))
    time.sleep(0.5)
    response = client.responses.retrieve(response.id)
print(response.status, repr(response.output_text))

for event in client.responses.retrieve(response.id, stream=True, starting_after=10):
    print(event.sequence_number, event.type)

other = client.responses.create(model="echo", input=text, background=True)
print(client.responses.cancel(other.id).status)
client.responses.delete(response.id)
