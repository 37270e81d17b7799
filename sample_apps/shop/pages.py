"""What the shop does at each of its addresses, from the visitor's session to the answer.

``session`` is whatever the framework calls so: a dict with ``login``, ``logout``, ``user_id`` and ``handle``, alike on
all of them. Pages that a form is sent to take it, whether they read it or not. Pages that are the same for everybody do
not look at it: what they show of the visitor a browser asks for by itself (``GET /me``), so they may be kept for all.
What needs Redis directly (the list of a user's sessions) is asked by the faces, in their own colour.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from redis_mw import current
from sample_apps.shop import accounts, carrier, cart, catalogue, csrf, orders
from sample_apps.shop.answers import Answer
from sample_apps.shop.configuration import Shop

Session = Any
Form = Mapping[str, str]


def front(shop: Shop) -> Answer:
    """``GET /``, the same for everybody."""
    return Answer("catalogue", {"products": _products(shop)}, public=True)


def product(shop: Shop, id: int) -> Answer:
    """``GET /products/<id>``, the same for everybody."""
    found = catalogue.product(shop.database, id)
    if found is None:
        return Answer("problem", {"problem": "We do not sell that."}, 404, public=True)
    return Answer("product", {"product": found._asdict()}, public=True)


def me(shop: Shop, session: Session) -> Answer:
    """``GET /me``: what pages that are the same for everybody leave out."""
    return Answer("me", _frame(shop, session))


def editing(shop: Shop, session: Session, id: int) -> Answer:
    """``GET /products/<id>/edit``"""
    return _edited(shop, session, catalogue.product(shop.database, id))


def edit(shop: Shop, session: Session, form: Form, id: int) -> Answer:
    """``POST /products/<id>/edit``: ``about``. The pages that show it are made anew when they are next asked for."""
    about = form.get("about", "").strip()
    keeper = accounts.account(shop.database, session.user_id)
    if keeper is None or not keeper.keeps_shop:
        return _edited(shop, session, None)
    if not about:
        return _refusal(shop, session, 400, "Say something about it.")
    answer = _edited(shop, session, catalogue.change(shop.database, id, about))
    if answer.status >= 400:
        return answer
    return answer._replace(then=f"/products/{id}", changed=("catalogue", f"product:{id}"))


def basket(shop: Shop, session: Session) -> Answer:
    """``GET /cart``"""
    lines = cart.lines(session, catalogue.products(shop.database))
    delivery = cart.delivery(session)
    return Answer(
        "cart",
        {
            **_frame(shop, session),
            "lines": [_line(line) for line in lines],
            "quote": session.get(cart.DELIVERY),
            "delivery": delivery,
            "total": sum(line.cents for line in lines) + delivery,
        },
    )


def change_cart(shop: Shop, session: Session, form: Form) -> Answer:
    """``POST /cart/items``: ``product``, ``quantity`` (1), and whether to ``add``, ``set`` or ``remove`` them."""
    action, quantity = form.get("action", "add"), _number(form.get("quantity", "1"))
    found = catalogue.product(shop.database, _number(form.get("product", "")) or 0)
    if found is None:
        return _refusal(shop, session, 404, "We do not sell that.")
    if action not in ("add", "set", "remove") or quantity is None:
        return _refusal(shop, session, 400, "Say how many, and whether to add, set or remove them.")
    now = datetime.now(UTC)
    if action == "add":
        cart.add(session, found.id, quantity, now)
    else:
        cart.put(session, found.id, quantity if action == "set" else 0, now)
    csrf.ensure(session)
    return basket(shop, session)._replace(then="/cart")


def quote(shop: Shop, session: Session, form: Form) -> Answer:
    """``POST /cart/delivery``: ask the carrier, who takes a while."""
    things = cart.count(session)
    if not things:
        return _refusal(shop, session, 409, "There is nothing to deliver.")
    try:
        cents = carrier.quote(shop.carrier, things)
    except OSError:
        return _refusal(shop, session, 502, "The carrier does not answer.")
    cart.quoted(session, things, cents)
    return basket(shop, session)._replace(then="/cart")


def checkout(shop: Shop, session: Session, form: Form) -> Answer:
    """``POST /checkout``: make an order of the cart, and have it fetched if a delivery was asked for.

    Each session has one checkout at a time (``configuration.ONE_CHECKOUT``), so the cart that is read here is not
    being ordered by anybody else.
    """
    buyer = accounts.account(shop.database, session.user_id)
    if buyer is None:
        return _refusal(shop, session, 401, "Log in to order.")
    lines = cart.lines(session, catalogue.products(shop.database))
    if not lines:
        return _refusal(shop, session, 409, "The cart is empty.")
    fence, delivery = current().lease.fence, cart.delivery(session)
    try:
        if delivery:
            carrier.book(shop.carrier, cart.count(session))
        order = orders.place(shop.database, buyer.id, session.handle, fence, lines, delivery, datetime.now(UTC))
    except OSError:
        return _refusal(shop, session, 502, "The carrier does not answer.")
    except orders.TakenOver:
        return _refusal(shop, session, 409, "Another checkout of this cart is under way.")
    cart.clear(session)
    return Answer("orders", {**_frame(shop, session), "order": order}, 201, then="/account/orders")


def bought(shop: Shop, session: Session) -> Answer:
    """``GET /account/orders``"""
    buyer = accounts.account(shop.database, session.user_id)
    if buyer is None:
        return _refusal(shop, session, 401, "Log in to see your orders.")
    found = [order._asdict() for order in orders.of_account(shop.database, buyer.id)]
    return Answer("orders", {**_frame(shop, session), "orders": found})


def door(shop: Shop, session: Session) -> Answer:
    """``GET /login``"""
    return Answer("login", {**_frame(shop, session), "problem": None})


def login(shop: Shop, session: Session, form: Form) -> Answer:
    """``POST /login``: ``name`` and ``password``. The cart stays; the session gets a new id and a new token."""
    found = accounts.authenticate(shop.database, form.get("name", ""), form.get("password", ""))
    if found is None:
        return Answer("login", {**_frame(shop, session), "problem": "That is not a name and its password."}, 401)
    session.login(found.id)
    csrf.renew(session)
    return _home(shop, session)


def account_of(form: Form) -> str:
    """Whose account a login is for; every way to write a name counts as the same."""
    return form.get("name", "").strip().lower()[:100]


def too_many_logins(shop: Shop, session: Session, retry_after: float) -> Answer:
    """For a login to an account that too many were tried with. Nobody is told whether there is such an account."""
    refused = _refusal(shop, session, 429, "Too many attempts to log in to this account. Wait a minute.")
    return refused._replace(retry_after=retry_after)


def logout(shop: Shop, session: Session, form: Form) -> Answer:
    """``POST /logout``"""
    session.logout()
    return _home(shop, session)


def sessions(shop: Shop, session: Session, infos: Iterable[Any]) -> Answer:
    """``GET /account/sessions``: where the visitor is logged in; ``infos`` are redis-mw's ``SessionInfo``."""
    listed = [
        {
            "handle": info.handle,
            "current": info.handle == session.handle,
            "created": _moment(info.created),
            "last_seen": _moment(info.last_seen),
            "user_agent": info.user_agent,
            "address": info.address,
        }
        for info in infos
    ]
    return Answer("sessions", {**_frame(shop, session), "sessions": listed})


def revoked(shop: Shop, session: Session, count: int) -> Answer:
    """``POST /account/sessions/revoke``, once it is done; ``count`` sessions were ended."""
    return Answer("sessions", {**_frame(shop, session), "revoked": count, "sessions": []}, then="/account/sessions")


def stranger(shop: Shop, session: Session) -> Answer:
    """For pages that are about the visitor's account, when nobody is logged in."""
    return _refusal(shop, session, 401, "Log in first.")


def forged(shop: Shop, session: Session) -> Answer:
    """For a form that did not come from a page of ours."""
    return _refusal(shop, session, 403, "This form is out of date. Go back, reload the page and send it again.")


def _home(shop: Shop, session: Session) -> Answer:
    return Answer("catalogue", {**_frame(shop, session), "products": _products(shop)}, then="/")


def _products(shop: Shop) -> list[dict[str, Any]]:
    return [product._asdict() for product in catalogue.products(shop.database)]


def _edited(shop: Shop, session: Session, product: catalogue.Product | None) -> Answer:
    """The page on which a product is changed, for those who may."""
    keeper = accounts.account(shop.database, session.user_id)
    if keeper is None:
        return stranger(shop, session)
    if not keeper.keeps_shop:
        return _refusal(shop, session, 403, "Only who keeps the shop may change it.")
    if product is None:
        return _refusal(shop, session, 404, "We do not sell that.")
    return Answer("edit", {**_frame(shop, session), "product": product._asdict()})


def _frame(shop: Shop, session: Session) -> dict[str, Any]:
    """What every page shows around its own."""
    user = accounts.account(shop.database, session.user_id)
    return {"user": user.name if user else None, "things": cart.count(session), "csrf": session.get(csrf.KEY)}


def _refusal(shop: Shop, session: Session, status: int, problem: str) -> Answer:
    return Answer("problem", {**_frame(shop, session), "problem": problem}, status, "/login" if status == 401 else None)


def _line(line: cart.Line) -> dict[str, Any]:
    return {**line.product._asdict(), "quantity": line.quantity, "sum": line.cents, "added": line.added.isoformat()}


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(" ", "seconds")


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
