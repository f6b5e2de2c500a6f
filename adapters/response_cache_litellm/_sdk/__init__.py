"""LiteLLM's SDK as an upstream, without its proxy."""
