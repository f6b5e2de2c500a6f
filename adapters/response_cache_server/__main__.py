"""``python -m response_cache_server``: the command line."""

from response_cache_server.cli import main

main()
