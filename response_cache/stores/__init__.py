"""Where responses are kept: one module or package for each kind of store."""

from response_cache.stores._urls import store_from_url, store_of

__all__ = ("store_from_url", "store_of")
