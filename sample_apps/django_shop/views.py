"""The views of the shop: Django's request in, the shop's answer out."""

from collections.abc import Callable
from functools import cache

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_POST, require_safe

from redis_mw_django import mw
from sample_apps.shop import configuration, csrf, pages
from sample_apps.shop.answers import Answer, message

View = Callable[..., HttpResponse]

shop = cache(configuration.shop)


def sharing(page: Callable[..., Answer]) -> View:
    """A page that is the same for everybody: nobody's session is looked at, so it may be kept."""

    @require_safe
    def share(request: HttpRequest, **parameters: object) -> HttpResponse:
        return reply(request, page(shop(), **parameters))

    return share


def showing(page: Callable[..., Answer]) -> View:
    """A page that is only looked at."""

    @require_safe
    def show(request: HttpRequest, **parameters: object) -> HttpResponse:
        return reply(request, page(shop(), request.session, **parameters))

    return show


def posting(page: Callable[..., Answer]) -> View:
    """A page that a form of ours is sent to."""

    @require_POST
    def post(request: HttpRequest, **parameters: object) -> HttpResponse:
        origin, host = request.headers.get("Origin"), request.headers.get("Host")
        if not csrf.good(request.session, request.POST, origin, host):
            return reply(request, pages.forged(shop(), request.session))
        return reply(request, page(shop(), request.session, request.POST, **parameters))

    return post


def both(show: View, post: View) -> View:
    """A page that is looked at, and that a form is sent to."""

    def view(request: HttpRequest, **parameters: object) -> HttpResponse:
        return (post if request.method == "POST" else show)(request, **parameters)

    return view


@posting
def enter(shop: configuration.Shop, session: pages.Session, form: pages.Form) -> Answer:
    attempt = mw.limits.hit(configuration.ACCOUNT, key=pages.account_of(form))
    if not attempt:
        return pages.too_many_logins(shop, session, attempt.retry_after)
    answer = pages.login(shop, session, form)
    if answer.status < 400:
        mw.limits.refund(attempt)
    return answer


@require_safe
def sessions(request: HttpRequest) -> HttpResponse:
    session = request.session
    if session.user_id is None:
        return reply(request, pages.stranger(shop(), session))
    return reply(request, pages.sessions(shop(), session, mw.sessions.of_user(session.user_id)))


@posting
def revoke(shop: configuration.Shop, session: pages.Session, form: pages.Form) -> Answer:
    if session.user_id is None:
        return pages.stranger(shop, session)
    if form.get("others"):
        return pages.revoked(shop, session, mw.sessions.revoke_user(session.user_id, keep=session.handle))
    if form.get("handle") == session.handle:
        return pages.logout(shop, session, form)
    return pages.revoked(shop, session, int(mw.sessions.revoke(session.user_id, form.get("handle", ""))))


def healthz(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"status": "ok"})


def reply(request: HttpRequest, answer: Answer) -> HttpResponse:
    status, headers, body = message(answer, request.headers.get("Accept"))
    return HttpResponse(body, status=status, headers=headers)
