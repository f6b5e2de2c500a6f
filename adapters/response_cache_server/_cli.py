"""The command line: ``response-cache serve``, ``litellm``, ``export-litellm`` and ``demo``.

A flag overrides its environment variable. A wrong setting is reported in one line on standard error
with exit code 2. An address that is taken gives exit code 1.
"""

from __future__ import annotations

import importlib.metadata
from functools import partial
from typing import Annotated

import typer

from response_cache_server._settings import BadSettings, load_settings
from response_cache_server._variables import variable

__all__ = ("app", "main")

app = typer.Typer(
    help="Background mode of the Responses API in front of any server.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def main() -> None:
    """Run the command that the arguments name."""
    app(prog_name="response-cache")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"response-cache {importlib.metadata.version('response-cache')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    pass


# Flags are text, so that ``Settings`` validates flags and variables alike.
@app.command()
def serve(
    upstream: Annotated[
        str | None,
        typer.Option(help="Base URL that has /responses below it, or litellm [default: built in]"),
    ] = None,
    store: Annotated[
        str | None, typer.Option(help="Where responses are kept [default: memory://]")
    ] = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on [default: 127.0.0.1]")
    ] = None,
    port: Annotated[
        str | None, typer.Option(help="Port to listen on, 0 for a free one [default: 8000]")
    ] = None,
    log_level: Annotated[
        str | None,
        typer.Option(help="critical, error, warning, info or debug [default: info]"),
    ] = None,
    drain_timeout: Annotated[
        str | None,
        typer.Option(help="Seconds that running responses get at the end [default: 30]"),
    ] = None,
    read_timeout: Annotated[
        str | None, typer.Option(help="Longest silence of the upstream [default: no limit]")
    ] = None,
    forwarded_allow_ips: Annotated[
        str | None,
        typer.Option(help="Peers whose X-Forwarded-* count, or '*' [default: 127.0.0.1,::1]"),
    ] = None,
) -> None:
    """Put the cache in front of an upstream and serve it.

    Every option has a variable, too: see docs/sidecar.md.
    """
    # Imported late: `--help` and `--version` need no server.
    from response_cache_server._server import CannotListen
    from response_cache_server._server import serve as run

    try:
        settings = load_settings(
            {
                "upstream": upstream,
                "store": store,
                "host": host,
                "port": port,
                "log_level": log_level,
                "drain_timeout": drain_timeout,
                "read_timeout": read_timeout,
                "forwarded_allow_ips": forwarded_allow_ips,
            }
        )
        run(settings)
    except BadSettings as error:
        _fail(str(error), code=2)
    except CannotListen as error:
        _fail(str(error), code=1)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def litellm(
    context: typer.Context,
    store: Annotated[
        str | None, typer.Option(help="Where responses are kept [default: the proxy's Redis]")
    ] = None,
) -> None:
    """Run LiteLLM's proxy with background responses; takes every flag of the litellm command.

    Every option has a variable, too: see docs/litellm.md.
    """
    from response_cache_litellm._proxy.command import CannotRun, run

    try:
        run(context.args, store=store)
    except CannotRun as error:
        _fail(str(error), code=2)


@app.command()
def export_litellm(
    store: Annotated[str, typer.Option(help="Where the responses are: redis://...")],
    to: Annotated[
        str | None, typer.Option(help="The Redis that LiteLLM uses [default: the same]")
    ] = None,
    namespace: Annotated[str, typer.Option(help="That of LiteLLM's cache settings, if any")] = "",
) -> None:
    """Hand closed responses of dialect litellm over to LiteLLM's own polling: the way back."""
    import anyio

    from response_cache.errors import StoreError
    from response_cache_litellm._export import export

    try:
        done = anyio.run(partial(export, store, to, namespace=namespace))
    except (ValueError, ImportError) as error:
        _fail(str(error), code=2)
    except StoreError as error:
        _fail(str(error), code=1)
    else:
        typer.echo(f"{done.written} closed responses written, {done.running} still running left")


@app.command()
def demo(
    store: Annotated[
        str,
        typer.Option(
            envvar=variable("store"), help="Where the responses of the demonstration are kept"
        ),
    ] = "memory://",
) -> None:
    """Show the main job: create, watch, resume, cancel and delete, over real HTTP."""
    from response_cache_server._demo.run import Unexpected, run_demo

    try:
        run_demo(store)
    except Unexpected as error:
        _fail(str(error), code=1)


def _fail(message: str, *, code: int) -> None:
    typer.echo(f"response-cache: {message}", err=True)
    raise typer.Exit(code)
