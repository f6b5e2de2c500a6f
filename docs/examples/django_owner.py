"""A Django app whose users log in, and the background mode of what belongs to them."""

import json

import django
from django.conf import settings
from django.contrib.auth import authenticate, get_user, login
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.handlers.wsgi import WSGIRequest
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path

from response_cache import Body, Owner, Request
from response_cache_wsgi import ResponseCacheMiddleware

settings.configure(
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["*"],
    SECRET_KEY="an example",  # noqa: S106
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "users.db"}},
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
)
django.setup()
REFUSAL = {"message": "Log in first.", "type": "invalid_request_error", "param": None, "code": None}


def log_in(request: HttpRequest) -> HttpResponse:
    """Start a session for whoever knows the password."""
    user = authenticate(request, **json.loads(request.body))
    if user is None:
        return HttpResponse(status=401)
    login(request, user)
    return HttpResponse(status=204)


def create(request: HttpRequest) -> JsonResponse:
    """Say hello. Django's middleware has run for this one, as for everything that reaches it."""
    part = {"type": "output_text", "text": f"Hello {request.user}", "annotations": []}
    item = {"type": "message", "role": "assistant", "status": "completed", "content": [part]}
    answer = {"object": "response", "model": "echo", "status": "completed"}
    return JsonResponse(answer | {"id": "resp_1", "output": [item | {"id": "msg_1"}]})


def owner(request: Request) -> Owner | Body:
    """Who asks. Polls do not reach Django's middleware, so its session is read here."""
    asked = WSGIRequest(request.environ)
    SessionMiddleware(create).process_request(asked)
    try:
        user = get_user(asked)
    finally:
        close_old_connections()  # as Django does after each request
    if user.is_authenticated:
        return Owner(str(user.pk))
    return Body(
        401, ((b"content-type", b"application/json"),), json.dumps({"error": REFUSAL}).encode()
    )


urlpatterns = [path("login", log_in), path("v1/responses", create)]
application = ResponseCacheMiddleware(get_wsgi_application(), owner=owner)
