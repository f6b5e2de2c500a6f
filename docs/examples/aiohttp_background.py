"""Background mode in an aiohttp app: the whole adapter."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from functools import partial

from aiohttp import web
from multidict import CIMultiDict

from response_cache import Answer, Options, OwnerOf, ResponseCache, Store, http

Upstream = Callable[[web.Request, bytes], Awaitable[http.Stream]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Background:
    def __init__(
        self, upstream: Upstream, store: Store | str, options: Options, owner: OwnerOf | None = None
    ) -> None:
        self.upstream, self.options = upstream, options
        self.api = http.ResponsesAPI(ResponseCache(store, options), owner)

    def set_up(self, app: web.Application) -> None:
        app.middlewares.append(self.serve)
        app.cleanup_ctx.append(self.keep_open)
        app.on_shutdown.append(self.drain)

    async def keep_open(self, app: web.Application) -> AsyncGenerator[None]:
        async with self.api.cache:
            yield

    async def drain(self, app: web.Application) -> None:
        await self.api.cache.drain()

    @web.middleware
    async def serve(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        paths, dialect = self.options.paths, self.options.dialect
        route = http.match_route(request.method, request.path, paths, dialect)
        if route is None:
            return await handler(request)
        if route.verb is http.Verb.CREATE:
            body = await request.read()
            reply = await self.api.create(asked(request, body), partial(self.run, request))
            if isinstance(reply, http.PassThrough):  # foreground work
                reply = await self.pass_on(request, reply, body)
        else:
            reply = await self.api.answer(route, asked(request))
            if isinstance(reply, http.PassThrough):
                return await handler(request)
        return await send(request, reply)

    async def pass_on(self, request: web.Request, way: http.PassThrough, body: bytes) -> http.Reply:
        reply = await self.upstream(request, way.body or body)
        if not way.renames(reply.status):
            return reply
        async with aclosing(reply.chunks):  # an error that may name an id of the upstream
            content = b"".join([chunk async for chunk in reply.chunks])
        return http.Body(reply.status, *way.renamed(reply.headers, content))

    async def run(self, request: web.Request, body: bytes, answer: Answer) -> None:
        reply = await self.upstream(request, body)
        async with aclosing(reply.chunks):
            answer.start(reply.status, reply.headers)
            await answer.relay(reply.chunks)
        answer.finish()


def asked(request: web.Request, body: bytes = b"") -> http.Request:
    headers = ((name.lower(), value) for name, value in request.raw_headers)
    query = request.rel_url.raw_query_string.encode()
    known = tuple(pair for pair in headers if pair[0] != b"content-encoding")  # it is unpacked
    return http.Request(request.method, request.path, query, known, body)


async def send(request: web.Request, reply: http.Reply) -> web.StreamResponse:
    headers = CIMultiDict((n.decode("latin-1"), v.decode("latin-1")) for n, v in reply.headers)
    if isinstance(reply, http.Body):
        return web.Response(status=reply.status, headers=headers, body=reply.content)
    response = web.StreamResponse(status=reply.status, headers=headers)
    async with aclosing(reply.chunks):
        await response.prepare(request)
        async for chunk in reply.chunks:
            await response.write(chunk)
    await response.write_eof()
    return response
