"""The way to the upstream: a streaming reverse proxy in front of one base URL."""
