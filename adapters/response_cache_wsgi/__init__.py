"""Background responses around any WSGI application.

app.wsgi_app = ResponseCacheMiddleware(app.wsgi_app, store="sqlite:///responses.db")   # Flask
application = ResponseCacheMiddleware(get_wsgi_application(), store="redis://localhost")  # Django
"""

from response_cache_wsgi._middleware import ResponseCacheMiddleware
from response_cache_wsgi._owners import AnyOwnerOf

__all__ = ("AnyOwnerOf", "ResponseCacheMiddleware")
