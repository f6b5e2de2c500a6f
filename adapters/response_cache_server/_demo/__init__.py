"""``response-cache demo``: background responses, shown in a terminal."""
