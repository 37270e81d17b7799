"""The shop on Flask: ``gunicorn 'sample_apps.flask_shop:create_app()'``."""

from flask import Flask, current_app, jsonify, request, session
from flask.typing import ResponseReturnValue

from redis_mw_flask import RedisExtension, mw
from sample_apps.shop import configuration, csrf, pages
from sample_apps.shop.answers import Answer, message


def create_app() -> Flask:
    """The application; its shop is in ``app.extensions["shop"]``."""
    app = Flask(__name__, static_folder=None)
    RedisExtension(app, configuration.settings())
    app.extensions["shop"] = configuration.shop()
    app.before_request(forged)

    @app.get("/")
    def front() -> ResponseReturnValue:
        return reply(pages.front(shop()))

    @app.get("/products/<int:id>")
    def product(id: int) -> ResponseReturnValue:
        return reply(pages.product(shop(), id))

    @app.get("/products/<int:id>/edit")
    def editing(id: int) -> ResponseReturnValue:
        return reply(pages.editing(shop(), session, id))

    @app.post("/products/<int:id>/edit")
    def edit(id: int) -> ResponseReturnValue:
        return reply(pages.edit(shop(), session, request.form, id))

    @app.get("/me")
    def me() -> ResponseReturnValue:
        return reply(pages.me(shop(), session))

    @app.get("/cart")
    def basket() -> ResponseReturnValue:
        return reply(pages.basket(shop(), session))

    @app.post("/cart/items")
    def change_cart() -> ResponseReturnValue:
        return reply(pages.change_cart(shop(), session, request.form))

    @app.post("/cart/delivery")
    def quote() -> ResponseReturnValue:
        return reply(pages.quote(shop(), session, request.form))

    @app.post("/checkout")
    def checkout() -> ResponseReturnValue:
        return reply(pages.checkout(shop(), session, request.form))

    @app.get("/login")
    def door() -> ResponseReturnValue:
        return reply(pages.door(shop(), session))

    @app.post("/login")
    def login() -> ResponseReturnValue:
        attempt = mw.limits.hit(configuration.ACCOUNT, key=pages.account_of(request.form))
        if not attempt:
            return reply(pages.too_many_logins(shop(), session, attempt.retry_after))
        answer = pages.login(shop(), session, request.form)
        if answer.status < 400:
            mw.limits.refund(attempt)
        return reply(answer)

    @app.post("/logout")
    def logout() -> ResponseReturnValue:
        return reply(pages.logout(shop(), session, request.form))

    @app.get("/account/orders")
    def bought() -> ResponseReturnValue:
        return reply(pages.bought(shop(), session))

    @app.get("/account/sessions")
    def sessions() -> ResponseReturnValue:
        if session.user_id is None:
            return reply(pages.stranger(shop(), session))
        return reply(pages.sessions(shop(), session, mw.sessions.of_user(session.user_id)))

    @app.post("/account/sessions/revoke")
    def revoke() -> ResponseReturnValue:
        if session.user_id is None:
            return reply(pages.stranger(shop(), session))
        if request.form.get("others"):
            return reply(pages.revoked(shop(), session, mw.sessions.revoke_user(session.user_id, keep=session.handle)))
        handle = request.form.get("handle", "")
        if handle == session.handle:
            return reply(pages.logout(shop(), session, request.form))
        return reply(pages.revoked(shop(), session, int(mw.sessions.revoke(session.user_id, handle))))

    @app.get("/healthz")
    def healthz() -> ResponseReturnValue:
        return jsonify(status="ok")

    return app


def shop() -> configuration.Shop:
    return current_app.extensions["shop"]


def forged() -> ResponseReturnValue | None:
    """Answer a form that did not come from a page of ours."""
    if request.method != "POST":
        return None
    origin, host = request.headers.get("Origin"), request.headers.get("Host")
    return None if csrf.good(session, request.form, origin, host) else reply(pages.forged(shop(), session))


def reply(answer: Answer) -> ResponseReturnValue:
    status, headers, body = message(answer, request.headers.get("Accept"))
    return body, status, headers
