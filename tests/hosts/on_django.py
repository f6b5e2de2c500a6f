"""A Django app over ASGI."""

from __future__ import annotations

import json

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, StreamingHttpResponse
from django.urls import path

from response_cache_asgi import ResponseCacheMiddleware
from tests.hosts.options import PATH, STREAM, options
from tests.hosts.story import told


async def create(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(told(json.loads(request.body)), content_type=STREAM)


urlpatterns = [path(PATH[1:], create)]
settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="of no use")
app = ResponseCacheMiddleware(get_asgi_application(), **options())
