"""Reads on behalf of clients: pages, and live tails that readers share."""
