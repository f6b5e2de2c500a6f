"""A streaming reverse proxy in front of one base URL."""
