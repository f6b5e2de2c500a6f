"""Where responses are kept: one module or package for each kind of store."""

from response_cache.stores.urls import store_from_url

__all__ = ("store_from_url",)
