"""The promises of ``response_cache.store`` as tests, one module for each operation."""
