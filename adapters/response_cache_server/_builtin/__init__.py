"""The built-in upstream: an offline server of the Responses API that needs no key."""
