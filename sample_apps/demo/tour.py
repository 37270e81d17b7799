"""The tour: what a visitor does in the shops, and what should come of it, step by step.

A step is a function; its docstring is its heading in the table. Most steps are done under every framework in turn, and
looked at under the next one, since all shops share one session.
"""

import signal
from collections.abc import Callable, Sequence
from functools import partial

from sample_apps.demo.guide import CROWD, Guide, eventually, kept, products, times, who
from sample_apps.demo.listener import last_message
from sample_apps.demo.market import Market, Shop
from sample_apps.demo.table import Table
from sample_apps.demo.visitor import Reply, Visitor

ADA = {"name": "ada", "password": "analytical engine"}
GRACE = {"name": "grace", "password": "nanoseconds of wire"}
TEAPOT, HONEY = 1, 5


def take(market: Market, table: Table, steps: Sequence[str] | None = None) -> None:
    """Take these steps, or all. One that breaks off becomes a row that differs, and the next one begins."""
    guide = Guide(market, table)
    table.columns()
    for name in steps or STEPS:
        table.heading(STEPS[name].__doc__ or name)
        try:
            STEPS[name](guide)
        except Exception as error:
            guide.row("", "the step broke off", "no error", repr(error))
    guide.close()


def looking_around(guide: Guide) -> None:
    """Who only looks around has no session"""
    for shop in guide.shops:
        replies = [Visitor().get(shop.url + path) for path in ("/", "/products/1", "/cart", "/login") * 5]
        statuses = sorted({reply.status for reply in replies})
        cookies = sum(reply.set_cookie is not None for reply in replies)
        seen = f"{statuses}, {cookies} cookies, {len(guide.stored())} stored"
        guide.row(shop, "20 pages without a cookie", "[200], 0 cookies, 0 stored", seen)
        guide.row(shop, "a product that there is not", 404, Visitor().get(f"{shop.url}/products/99").status)


def one_cart(guide: Guide) -> None:
    """One session: what is put into the cart under one framework is in it under the others"""
    visitor = Visitor()
    for number, shop in enumerate(guide.shops, 1):
        things = add(number, visitor, shop).data["things"]
        guide.row(shop, f"put product {number} into the cart", f"{number} in the cart", f"{things} in the cart")
    for shop in guide.shops:
        guide.row(shop, "look into the cart", "1 2 3 4", products(visitor.get(f"{shop.url}/cart")))
    guide.row("Valkey", "sessions stored", 1, len(guide.stored()))


def a_nested_edit(guide: Guide) -> None:
    """A change deep inside a value is noticed"""
    for shop, other in guide.pairs():
        visitor = Visitor()
        _ = add(TEAPOT, visitor, shop)
        _ = visitor.post(f"{shop.url}/cart/items", {"product": TEAPOT, "quantity": 6, "action": "set"})
        (line,) = visitor.get(f"{other.url}/cart").data["lines"]
        guide.row(shop, f"change a quantity; look in {other.name}", 6, line["quantity"])


def parallel_writers(guide: Guide) -> None:
    """Two requests at once that write different keys: both count"""
    for shop, other in guide.pairs():
        visitor = Visitor()
        _ = add(TEAPOT, visitor, shop)
        with guide.in_flight(visitor, shop) as slow:
            _ = add(HONEY, visitor, other)
        _ = slow.result()
        cart = visitor.get(f"{other.url}/cart")
        seen = f"{products(cart)}, {'a quote' if cart.data['quote'] else 'no quote'}"
        guide.row(shop, f"want a quote, meanwhile {other.name} adds", "1 5, a quote", seen)


def logging_in(guide: Guide) -> None:
    """Logging in gives the session a new id, and the cart stays"""
    for shop, other in guide.pairs():
        visitor = Visitor()
        _ = add(TEAPOT, visitor, shop)
        before = visitor.again()
        status = visitor.post(f"{shop.url}/login", {**ADA, "password": "guess"}).status
        same = "same" if visitor.cookie == before.cookie else "new"
        guide.row(shop, "log in with a wrong password", "401, same id", f"{status}, {same} id")
        status = visitor.post(f"{shop.url}/login", ADA).status
        same = "same" if visitor.cookie == before.cookie else "new"
        guide.row(shop, "log in", "200, new id", f"{status}, {same} id")
        guide.row(shop, f"look with the new cookie, in {other.name}", "ada, 1", who(visitor, other))
        guide.row(shop, f"look with the old one, in {other.name}", "nobody, 1", who(before, other))


def forged_cookies(guide: Guide) -> None:
    """Forged cookies: an empty session that Redis is not even asked for, only whether the visitor may ask"""
    owner = Visitor()
    _ = add(TEAPOT, owner, guide.shops[0])
    good = owner.cookie or ""
    retouched = good[:-1] + ("A" if good[-1] != "A" else "B")
    forged = [retouched, good.partition(".")[0], "x" * 91, "x" * 3000, "a.b.c", "%00"]
    for shop in guide.shops:
        stored = guide.stored()
        look = partial(look_into_carts, shop, forged)
        scripts = guide.least(len(forged), guide.scripts, look)
        seen = f"{look()} things, {len(guide.stored() - stored)} keys, {scripts} scripts"
        guide.row(shop, f"look with {len(forged)} forged cookies", f"0 things, 0 keys, {len(forged)} scripts", seen)


def foreign_forms(guide: Guide) -> None:
    """Another site's form is refused"""
    for shop in guide.shops:
        visitor = Visitor()
        _ = add(TEAPOT, visitor, shop)
        first = visitor.post(f"{shop.url}/cart/items", {"product": HONEY, "csrf": "guess"}).status
        second = Visitor().post(f"{shop.url}/login", ADA, Origin="https://elsewhere.example").status
        guide.row(shop, "a form with a wrong token, one of elsewhere", "403 403", f"{first} {second}")


def my_sessions(guide: Guide) -> None:
    """My sessions: listed everywhere, ended from anywhere, at once"""
    for shop, other in guide.pairs():
        laptop, phone = Visitor("Firefox on a laptop"), Visitor("Safari on a phone")
        _ = laptop.post(f"{shop.url}/login", GRACE), phone.post(f"{other.url}/login", GRACE)
        listed = laptop.get(f"{shop.url}/account/sessions").data["sessions"]
        browsers = ", ".join(sorted(each["user_agent"].split()[0] for each in listed))
        guide.row(shop, f"log in here and in {other.name}; my sessions", "Firefox, Safari", browsers)
        (mine,) = (each for each in listed if each["current"])
        guide.row(shop, "which of them is this one", "Firefox", mine["user_agent"].split()[0])
        _ = phone.post(f"{other.url}/account/sessions/revoke", {"handle": mine["handle"]})
        status = laptop.get(f"{shop.url}/account/sessions").status
        guide.row(shop, f"the laptop, once {other.name} has ended it", 401, status)
        _ = laptop.post(f"{shop.url}/login", GRACE)
        count = laptop.post(f"{shop.url}/account/sessions/revoke", {"others": 1}).data["revoked"]
        statuses = [each.get(f"{other.url}/account/sessions").status for each in (laptop, phone)]
        guide.row(shop, "end all others; then the laptop, the phone", "1, [200, 401]", f"{count}, {statuses}")
        _ = laptop.post(f"{shop.url}/logout")


def logging_out(guide: Guide) -> None:
    """A logout is final, even for a slow request that is under way"""
    for shop, other in guide.pairs():
        visitor = Visitor()
        _ = add(TEAPOT, visitor, shop), visitor.post(f"{shop.url}/login", ADA)
        before, stored = visitor.again(), guide.stored()
        with guide.in_flight(visitor, shop) as slow:
            _ = visitor.post(f"{other.url}/logout")
        given = "a cookie" if slow.result().set_cookie else "no cookie"
        guide.row(shop, f"want a quote, meanwhile {other.name} logs out", "no cookie", given)
        guide.row(shop, "look with the cookie of before", "nobody, 0", who(before, shop))
        guide.row("Valkey", "sessions stored since", 0, len(guide.stored() - stored))


def checking_out(guide: Guide) -> None:
    """Checking out: an order in the database, an empty cart"""
    for shop, other in guide.pairs():
        visitor = Visitor()
        _ = visitor.post(f"{shop.url}/cart/items", {"product": TEAPOT, "quantity": 2})
        guide.row(shop, "order before logging in", 401, visitor.post(f"{shop.url}/checkout").status)
        _ = visitor.post(f"{other.url}/login", ADA)
        _ = visitor.post(f"{other.url}/cart/delivery")
        before = guide.orders()
        status = visitor.post(f"{shop.url}/checkout").status
        added = [order for id, order in guide.orders().items() if id not in before]
        guide.row(shop, f"order, logged in by {other.name}", "201, ada 7450", f"{status}, {' '.join(added)}")
        guide.row(shop, f"look in {other.name}", "ada, 0", who(visitor, other))


def one_order(guide: Guide) -> None:
    """One cart, one order: checkouts come one after the other, and one that is sent again is not done again"""
    for shop, other in guide.pairs():
        visitor, before = customer(shop), guide.orders()
        asks = [partial(visitor.again().post, f"{each.url}/checkout") for each in (shop, other) * 10]
        found = times([reply.result().status for reply in guide.at_once(asks)])
        guide.row(shop, f"20 checkouts at once, also in {other.name}", "1 x 201, 19 x 409", found)
        guide.row(shop, "orders since", 1, len(guide.orders().keys() - before.keys()))
    for shop, other in guide.pairs():
        visitor, before = customer(shop), guide.orders()
        key = {"Idempotency-Key": f'"{shop.name}"'}
        first = visitor.again().post(f"{shop.url}/checkout", **key)
        again = visitor.again().post(f"{other.url}/checkout", **key)
        seen = f"{first.status}, {again.status} {'replayed' if 'idempotency-replayed' in again.headers else 'new'}"
        guide.row(shop, f"with a key; again in {other.name}", "201, 201 replayed", seen)
        same = "the same" if again.data["order"] == first.data["order"] else "another"
        seen = f"{same}, {len(guide.orders().keys() - before.keys())} placed"
        guide.row(shop, "the number of the order", "the same, 1 placed", seen)
        status = visitor.again().post(f"{shop.url}/checkout", {"note": "be quick"}, **key).status
        guide.row(shop, "the same key for something else", 422, status)
        visitor = customer(shop)
        key = {"Idempotency-Key": f"five-at-once-{shop.name.replace(' ', '-')}"}
        asks = [
            partial(visitor.again().post, f"{each.url}/checkout", **key) for each in (shop, other, shop, other, shop)
        ]
        replies = [reply.result() for reply in guide.at_once(asks)]
        orders = {reply.data.get("order") for reply in replies}
        seen = f"{times([reply.status for reply in replies])}, {len(orders)} order"
        guide.row(shop, "with a new key, 5 at once", "5 x 201, 1 order", seen)


def a_dead_shop(guide: Guide) -> None:
    """A shop is killed in the middle of a checkout: whoever waits for the lock has it when the lease ends"""
    doomed = [guide.market.another(shop) for shop in guide.shops]
    visitors = [customer(shop, delivery=True) for shop in guide.shops]
    before, urls = guide.orders(), [f"{shop.url}/checkout" for shop in guide.shops]
    with guide.market.carrier.busy():
        lost = guide.at_once([
            partial(visitor.again().post, f"{shop.url}/checkout")
            for visitor, shop in zip(visitors, doomed, strict=True)
        ])  # fmt: skip
        guide.until("hold a lock", guide.holding, len(doomed))
        taken = guide.at_once([
            partial(visitor.again().post, url) for visitor, url in zip(visitors, urls, strict=True)
        ])  # fmt: skip
        guide.until("wait for one", guide.waiting, len(doomed))
        for shop in doomed:
            shop.child.kill()
    for shop, gone, next_one in zip(guide.shops, lost, taken, strict=True):
        answered = "an answer" if gone.exception() is None else "no answer"
        seen = f"{answered}, {next_one.result().status}"
        guide.row(shop, "killed in mid-checkout; the one who waited", "no answer, 201", seen)
    placed = len(guide.orders().keys() - before.keys())
    guide.row("the database", "orders since", len(doomed), placed)


def cached_pages(guide: Guide) -> None:
    """Pages that are the same for everybody are made once, for all"""
    for shop in guide.shops:
        page = f"{shop.url}/products/2"
        _ = guide.mw.cache.drop_tag("catalogue")
        # That it was dropped, other processes hear a moment later.
        first = eventually(partial(Visitor().get, page), lambda reply: kept(reply).startswith("made"))
        second = customer(shop).get(page)
        guide.row(
            shop, "a product; who is logged in gets the same", "made, kept; given", f"{kept(first)}; {kept(second)}"
        )
        again = Visitor().get(page, **{"If-None-Match": first.headers.get("etag", "")})
        guide.row(shop, "who has it already", "304, 0 bytes", f"{again.status}, {len(again.body)} bytes")
        _ = guide.mw.cache.purge(page)
        crowd = [reply.result() for reply in guide.at_once([partial(Visitor().get, page) for _ in range(CROWD)])]
        made = sum(kept(reply).startswith("made") for reply in crowd)
        given = sum(reply.status == 200 and reply.data == first.data for reply in crowd)
        guide.row(
            shop, f"{CROWD} at once want it, when it is gone", f"1 made, {CROWD} given", f"{made} made, {given} given"
        )
        missing = [Visitor().get(f"{shop.url}/products/{404}") for _ in range(2)]
        seen = "; ".join(f"{reply.status} {kept(reply)}" for reply in missing)
        guide.row(shop, "a product that there is not, twice", "404 made, kept; 404 given", seen)
    for shop, other in guide.pairs():
        keeper, told = Visitor(), f"As {other.name} tells it"
        _ = keeper.post(f"{other.url}/login", GRACE)
        _ = Visitor().get(f"{shop.url}/products/2"), Visitor().get(f"{shop.url}/")
        status = keeper.post(f"{other.url}/products/2/edit", {"about": told}).status
        seen = [
            eventually(
                partial(Visitor().get, f"{shop.url}{path}"), lambda reply, told=told: told in reply.body.decode()
            )
            for path in ("/products/2", "/")
        ]
        new = "new on both" if all(told in reply.body.decode() for reply in seen) else "old"
        guide.row(shop, f"edit a product in {other.name}; look", "200, new on both", f"{status}, {new}")
        _ = guide.mw.cache.drop_tag("product:2", soft=True)
        look = partial(Visitor().get, f"{shop.url}/products/2")
        stale = eventually(look, lambda reply: kept(reply) == "stale")
        until = eventually(look, lambda reply: kept(reply) == "given")
        guide.row(shop, "let it become stale; look, look later", "stale, given", f"{kept(stale)}, {kept(until)}")


def watching(guide: Guide) -> None:
    """A WebSocket learns that its session is over, the moment it is"""
    shop, *others = guide.shops
    for other in others:
        visitor = Visitor()
        _ = visitor.post(f"{shop.url}/login", GRACE)
        with last_message(f"{shop.url}/account/live", visitor) as last:
            _ = visitor.post(f"{other.url}/logout")
            guide.row(shop, f"watch, meanwhile {other.name} logs out", {"revoked": True}, last())


def a_burst(guide: Guide) -> None:
    """A burst is cut at 120 requests a minute of one address, counted by all shops together"""
    for shop, other in guide.pairs():
        visitor, bystander = Visitor(), Visitor()
        replies = [visitor.get(f"{(shop, other)[n % 2].url}/products/1") for n in range(130)]
        served = sum(reply.status == 200 for reply in replies)
        refused = sum(reply.status == 429 for reply in replies)
        guide.row(
            shop,
            f"130 pages, here and in {other.name} by turns",
            "120 served, 10 refused",
            f"{served} served, {refused} refused",
        )
        first, last = replies[0].headers, replies[-1].headers
        guide.row(shop, "RateLimit-Policy", '"visitors";q=120;w=60', first.get("ratelimit-policy"))
        guide.row(shop, "RateLimit of the first", '"visitors";r=119', str(first.get("ratelimit")).partition(";t=")[0])
        guide.row(shop, "RateLimit of the last", '"visitors";r=0', str(last.get("ratelimit")).partition(";t=")[0])
        wait = int(last.get("retry-after", 0))
        guide.row(shop, "Retry-After of the last, seconds", "1 to 64", "1 to 64" if 1 <= wait <= 64 else wait)
        guide.row(shop, "somebody else, meanwhile", 200, bystander.get(f"{shop.url}/products/1").status)


def guessing(guide: Guide) -> None:
    """Guessing passwords: five failures a minute for an address, and for an account; a good login counts nothing"""
    for number, (shop, other) in enumerate(guide.pairs()):
        guesser = Visitor()
        found = [guesser.again().post(f"{each.url}/login", {"name": f"nobody{number}{n}", "password": "x"}).status
                 for n, each in enumerate((shop, other) * 4)]  # fmt: skip
        guide.row(shop, f"8 guesses of one address, also in {other.name}", "5 x 401, 3 x 429", times(found))
        name = {"name": f"somebody{number}", "password": "x"}
        found = [Visitor().post(f"{each.url}/login", name).status for each in (shop, other) * 4]
        guide.row(shop, "8 guesses at one account, 8 addresses", "5 x 401, 3 x 429", times(found))
        regular = Visitor()
        found = [regular.again().post(f"{shop.url}/login", GRACE).status for _ in range(8)]
        guide.row(shop, "8 good logins of one address", "8 x 200", times(found))


def round_trips(guide: Guide) -> None:
    """Round trips to Redis, as the server counts them"""
    for shop in guide.shops:
        visitor, leaver = Visitor(), Visitor()
        _ = add(HONEY, visitor, shop)
        enter = partial(add, HONEY, leaver, shop)
        guide.trips(shop, "a page, without a cookie: limit", 1, partial(Visitor().get, f"{shop.url}/"))
        guide.trips(shop, "the first thing into the cart: create", 2, partial(create, shop))
        guide.trips(shop, "a page, with the session: limit and read", 1, partial(visitor.get, f"{shop.url}/"))
        guide.trips(shop, "one more into the cart: read and modify", 2, partial(add, HONEY, visitor, shop))
        guide.trips(shop, "log out: read and end", 2, partial(leaver.post, f"{shop.url}/logout"), enter)
        flood = Visitor()
        for _ in range(122):
            _ = flood.get(f"{shop.url}/products/1")
        guide.trips(shop, "refused once more", 0, partial(flood.get, f"{shop.url}/products/1"))


def an_outage(guide: Guide) -> None:
    """Redis falls silent: who needs a session waits, nobody loses one"""
    visitor = Visitor()
    _ = add(TEAPOT, visitor, guide.shops[0])
    before = visitor.cookie
    guide.market.signal_valkey(signal.SIGSTOP)
    try:
        for shop in guide.shops:
            reply = visitor.get(f"{shop.url}/cart")
            seen = f"{reply.status}, {'Retry-After' if 'retry-after' in reply.headers else 'no Retry-After'}"
            guide.row(shop, "a page of the session", "503, Retry-After", seen)
            guide.row(shop, "the health check, with the cookie", 200, visitor.get(f"{shop.url}/healthz").status)
            guide.row(shop, "a page, without a cookie", 200, Visitor().get(f"{shop.url}/").status)
    finally:
        guide.market.signal_valkey(signal.SIGCONT)
    guide.row("the browser", "its cookie", "kept", "kept" if visitor.cookie == before else "lost")
    for shop in guide.shops:
        reply = eventually(partial(visitor.get, f"{shop.url}/cart"), 200)
        guide.row(shop, "a page of the session, once Redis is back", "1", products(reply))


def customer(shop: Shop, *, delivery: bool = False) -> Visitor:
    """Somebody who is logged in and has something in the cart."""
    visitor = Visitor()
    _ = add(TEAPOT, visitor, shop), visitor.post(f"{shop.url}/login", ADA)
    if delivery:
        _ = visitor.post(f"{shop.url}/cart/delivery")
    return visitor


def add(product: int, visitor: Visitor, shop: Shop) -> Reply:
    return visitor.post(f"{shop.url}/cart/items", {"product": product})


def look_into_carts(shop: Shop, cookies: Sequence[str]) -> int:
    """How many things are in the carts of these cookies."""
    return sum(Visitor(cookie=cookie).get(f"{shop.url}/cart").data["things"] for cookie in cookies)


def create(shop: Shop) -> Reply:
    return add(HONEY, Visitor(), shop)


STEPS: dict[str, Callable[[Guide], None]] = {
    step.__name__: step
    for step in (
        looking_around,
        one_cart,
        a_nested_edit,
        parallel_writers,
        logging_in,
        forged_cookies,
        foreign_forms,
        my_sessions,
        logging_out,
        checking_out,
        one_order,
        cached_pages,
        a_dead_shop,
        watching,
        a_burst,
        guessing,
        round_trips,
        an_outage,
    )
}
