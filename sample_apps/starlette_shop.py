"""The shop on Starlette: ``uvicorn --factory sample_apps.starlette_shop:create_app``."""

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from redis_mw_starlette import RedisMiddleware
from sample_apps.shop import configuration, csrf, pages
from sample_apps.shop.answers import Answer, message

Page = Callable[..., Answer]


def create_app() -> Starlette:
    """The application; its shop is in ``app.state.shop``."""
    routes = [
        Route("/", sharing(pages.front)),
        Route("/products/{id:int}", sharing(pages.product)),
        Route("/products/{id:int}/edit", showing(pages.editing), methods=["GET"]),
        Route("/products/{id:int}/edit", posting(pages.edit), methods=["POST"]),
        Route("/me", showing(pages.me)),
        Route("/cart", showing(pages.basket)),
        Route("/cart/items", posting(pages.change_cart), methods=["POST"]),
        Route("/cart/delivery", posting(pages.quote), methods=["POST"]),
        Route("/checkout", posting(pages.checkout), methods=["POST"]),
        Route("/login", showing(pages.door), methods=["GET"]),
        Route("/login", login, methods=["POST"]),
        Route("/logout", posting(pages.logout), methods=["POST"]),
        Route("/account/orders", showing(pages.bought)),
        Route("/account/sessions", sessions),
        Route("/account/sessions/revoke", revoke, methods=["POST"]),
        WebSocketRoute("/account/live", live),
        Route("/healthz", healthz),
    ]
    middleware = [Middleware(RedisMiddleware, settings=configuration.settings())]
    app = Starlette(routes=routes, middleware=middleware)
    app.state.shop = configuration.shop()
    return app


def sharing(page: Page) -> Callable[[Request], Awaitable[Response]]:
    """A page that is the same for everybody: nobody's session is looked at, so it may be kept."""

    async def share(request: Request) -> Response:
        answer = await run_in_threadpool(page, request.app.state.shop, **request.path_params)
        return response(request, answer)

    return share


def showing(page: Page) -> Callable[[Request], Awaitable[Response]]:
    """A page that is only looked at."""

    async def show(request: Request) -> Response:
        return await reply(request, page, **request.path_params)

    return show


def posting(page: Page) -> Callable[[Request], Awaitable[Response]]:
    """A page that a form is sent to."""

    async def post(request: Request) -> Response:
        form = await form_of(request)
        if form is None:
            return await reply(request, pages.forged)
        return await reply(request, page, form, **request.path_params)

    return post


async def login(request: Request) -> Response:
    form, limits = await form_of(request), request.state.redis_mw.mw.limits
    if form is None:
        return await reply(request, pages.forged)
    attempt = await limits.hit(configuration.ACCOUNT, key=pages.account_of(form))
    if not attempt:
        return await reply(request, pages.too_many_logins, attempt.retry_after)
    response = await reply(request, pages.login, form)
    if response.status_code < 400:
        await limits.refund(attempt)
    return response


async def sessions(request: Request) -> Response:
    if request.session.user_id is None:
        return await reply(request, pages.stranger)
    infos = await request.state.redis_mw.mw.sessions.of_user(request.session.user_id)
    return await reply(request, pages.sessions, infos)


async def revoke(request: Request) -> Response:
    session, form, mw = request.session, await form_of(request), request.state.redis_mw.mw
    if form is None or session.user_id is None:
        return await reply(request, pages.forged if form is None else pages.stranger)
    if form.get("others"):
        return await reply(request, pages.revoked, await mw.sessions.revoke_user(session.user_id, keep=session.handle))
    if form.get("handle") == session.handle:
        return await reply(request, pages.logout, form)
    return await reply(request, pages.revoked, int(await mw.sessions.revoke(session.user_id, form.get("handle", ""))))


async def live(socket: WebSocket) -> None:
    """Tells a page that its session is over, the moment it is."""
    await socket.accept()
    await socket.send_json({"user": socket.session.user_id})
    async for _ in socket.session.revoked():
        await socket.send_json({"revoked": True})
    await socket.close()


async def healthz(request: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def form_of(request: Request) -> dict[str, str] | None:
    """What a page of ours sent, or None if it was another's."""
    form = dict(parse_qsl((await request.body()).decode(errors="replace")))
    headers = request.headers
    return form if csrf.good(request.session, form, headers.get("origin"), headers.get("host")) else None


async def reply(request: Request, page: Page, *arguments: Any, **parameters: Any) -> Response:
    """What a page answers. The shop's own work blocks, so it is done in a thread."""
    shop, session = request.app.state.shop, request.session
    answer = await run_in_threadpool(page, shop, session, *arguments, **parameters)
    return response(request, answer)


def response(request: Request, answer: Answer) -> Response:
    status, headers, body = message(answer, request.headers.get("accept"))
    return Response(body, status, headers)
