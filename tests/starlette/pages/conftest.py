"""What the tests of pages share: sites in a line."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from inspect import isfunction
from typing import Any

import pytest
from asgi_site import open_site
from pages_site import PAGE, Pages
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from redis_mw import Cache, Event, Settings, replace

SECRET = "a secret of thirty-two characters or more"

Serve = Callable[..., AbstractAsyncContextManager[Pages]]


@pytest.fixture
def serve(redis_mw_settings: Settings) -> Serve:
    """``async with serve(view or routes, rules=..., cache=Cache(...), **of the settings)``; the view is at ``/page``.

    A view that is a text or a response is answered as it is. Nothing is kept in the process, unless ``cache`` says so.
    """

    @asynccontextmanager
    async def serving(
        *views: Any, rules: Any = (PAGE,), cache: Cache | None = None, app: Any = None, **of: Any
    ) -> AsyncIterator[Pages]:
        heard: list[Event] = []
        made: list[Request] = []
        settings = replace(
            redis_mw_settings,
            secret=SECRET,
            rules=list(rules),
            cache=cache if cache is not None else Cache(l1_bytes=0),
            on_event=[heard.append],
            **of,
        )
        routes = [view if isinstance(view, BaseRoute) else Route("/page", _view(view, made)) for view in views]
        async with open_site(app if app is not None else Starlette(routes=routes), settings) as site:
            yield Pages(site, heard, made)

    return serving


def _view(answer: Any, made: list[Request]) -> Any:
    async def view(request: Request) -> Response:
        made.append(request)
        _ = request.headers  # as the view sees them
        given = await answer(request) if isfunction(answer) else answer
        return given if isinstance(given, Response) else PlainTextResponse(str(given))

    return view
