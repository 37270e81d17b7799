"""What every shop does, whatever framework it stands on."""

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial

import pytest

from redis_mw import RedisMW, replace
from redis_mw.http.address import shortened
from sample_apps.demo.guide import eventually, kept
from sample_apps.demo.market import Market, Shop
from sample_apps.demo.tour import ADA, GRACE
from sample_apps.demo.visitor import Reply, Visitor
from sample_apps.shop import catalogue, configuration, orders
from sample_apps.shop.cart import Line

HTML = "text/html,application/xhtml+xml,*/*;q=0.8"


def buyer(shop: Shop, *products: int, account: dict[str, str] | None = None, agent: str = "a test") -> Visitor:
    """A visitor with some products in the cart, logged in if there is an account."""
    visitor = Visitor(agent)
    for product in products:
        assert visitor.post(f"{shop.url}/cart/items", {"product": product}).status == 200
    if account is not None:
        assert visitor.post(f"{shop.url}/login", account).status == 200
    return visitor


def cart(reply: Reply) -> dict[int, int]:
    return {line["id"]: line["quantity"] for line in reply.data["lines"]}


def alone(shop: Shop, account: dict[str, str], agent: str) -> Visitor:
    """A visitor who is logged in nowhere else."""
    visitor = buyer(shop, account=account, agent=agent)
    _ = visitor.post(f"{shop.url}/account/sessions/revoke", {"others": 1})
    return visitor


# Looking around


@pytest.mark.parametrize("path", ["/", "/products/3", "/cart", "/login", "/healthz"])
def test_looking_around_gives_no_cookie(shop: Shop, path: str) -> None:
    reply = Visitor().get(shop.url + path)
    assert reply.status == 200
    assert reply.set_cookie is None


def test_the_catalogue_and_its_products_agree(shop: Shop) -> None:
    products = Visitor().get(f"{shop.url}/").data["products"]
    assert [product["id"] for product in products] == [1, 2, 3, 4, 5, 6]
    for product in products:
        assert Visitor().get(f"{shop.url}/products/{product['id']}").data["product"] == product


@pytest.mark.parametrize("path", ["/products/99", "/products/teapot", "/nowhere"])
def test_what_is_not_there_is_not_found(shop: Shop, path: str) -> None:
    assert Visitor().get(shop.url + path).status == 404


def test_browsers_get_html_and_programs_json(shop: Shop) -> None:
    page = Visitor().get(f"{shop.url}/products/6", Accept=HTML)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "Salt &amp; pepper" in page.body.decode()
    assert Visitor().get(f"{shop.url}/products/6").data["product"]["name"] == "Salt & pepper"


def test_caches_are_told_that_a_page_depends_on_the_cookie_and_the_kind_asked_for(shop: Shop) -> None:
    varies = Visitor().get(f"{shop.url}/cart").headers["vary"].lower()
    assert {"accept", "cookie"} <= {field.strip() for field in varies.split(",")}


@pytest.mark.parametrize("path", ["/", "/products/1", "/cart", "/login", "/me", "/account/orders", "/account/sessions"])
def test_every_page_can_be_shown(shop: Shop, path: str) -> None:
    visitor = buyer(shop, 1, 6, account=ADA)
    page = visitor.get(shop.url + path, Accept=HTML)
    assert page.status == 200
    assert "</html>" in page.body.decode()


# Pages that are the same for everybody


def test_a_page_is_made_once_for_all_visitors_logged_in_or_not(shop: Shop, market: Market) -> None:
    page = f"{shop.url}/products/4"
    first = fresh(shop, market, "/products/4")
    for visitor in (Visitor(), buyer(shop, 1, account=ADA)):
        again = visitor.get(page)
        assert kept(again) == "given" and again.data == first.data
        assert "cookie" not in again.headers["vary"].lower() and visitor.get(f"{shop.url}/me").status == 200
    html = fresh(shop, market, "/products/4", Accept=HTML)
    assert "Bread knife" in html.body.decode() and html.headers["content-type"] == "text/html; charset=utf-8"


def test_a_browser_that_has_a_page_gets_no_body(shop: Shop, market: Market) -> None:
    etag = fresh(shop, market, "/").headers["etag"]
    again = Visitor().get(f"{shop.url}/", **{"If-None-Match": etag})
    assert (again.status, again.body, again.headers["etag"]) == (304, b"", etag)


def test_that_there_is_no_such_product_is_remembered_a_while(shop: Shop, market: Market) -> None:
    assert fresh(shop, market, "/products/4711").status == 404
    again = Visitor().get(f"{shop.url}/products/4711")
    assert (again.status, kept(again)) == (404, "given")


def test_what_is_changed_in_one_shop_is_seen_in_the_next(shop: Shop, other: Shop, market: Market) -> None:
    _ = fresh(shop, market, "/products/6"), fresh(shop, market, "/")
    keeper, about = buyer(other, account=GRACE), f"Two mills, as {shop.name} sells them."
    assert keeper.post(f"{other.url}/products/6/edit", {"about": about}).data["product"]["about"] == about
    for path in ("/products/6", "/"):  # what a process has in its memory is dropped a moment later
        until = eventually(partial(Visitor().get, shop.url + path), lambda reply: about in reply.body.decode())
        assert about in until.body.decode()


def test_only_who_keeps_the_shop_may_change_it(shop: Shop) -> None:
    form = {"about": "Broken."}
    assert Visitor().post(f"{shop.url}/products/1/edit", form).status == 401
    assert buyer(shop, 1, account=ADA).post(f"{shop.url}/products/1/edit", form).status == 403
    keeper = buyer(shop, 1, account=GRACE)
    assert keeper.get(f"{shop.url}/products/1/edit", Accept=HTML).status == 200
    assert keeper.post(f"{shop.url}/products/1/edit", {"about": " "}).status == 400
    assert keeper.post(f"{shop.url}/products/99/edit", form).status == 404


def fresh(shop: Shop, market: Market, path: str, **fields: str) -> Reply:
    """A page that has just been made."""
    with RedisMW(replace(configuration.settings(), url=market.valkey.url)) as mw:
        assert mw.cache.purge(shop.url + path)
    reply = eventually(partial(Visitor().get, shop.url + path, **fields), lambda reply: kept(reply).startswith("made"))
    assert kept(reply) == "made, kept"
    return reply


# The cart


def test_things_are_added_changed_and_removed(shop: Shop) -> None:
    visitor, items = Visitor(), f"{shop.url}/cart/items"
    assert cart(visitor.post(items, {"product": 1, "quantity": 2})) == {1: 2}
    assert cart(visitor.post(items, {"product": 5})) == {1: 2, 5: 1}
    assert cart(visitor.post(items, {"product": 5, "quantity": 3})) == {1: 2, 5: 4}
    assert cart(visitor.post(items, {"product": 1, "quantity": 7, "action": "set"})) == {1: 7, 5: 4}
    assert cart(visitor.post(items, {"product": 5, "action": "remove"})) == {1: 7}
    reply = visitor.get(f"{shop.url}/cart")
    assert cart(reply) == {1: 7}
    assert reply.data["total"] == 7 * 3400


def test_nobody_gets_more_than_99_of_a_thing(shop: Shop) -> None:
    visitor = Visitor()
    assert cart(visitor.post(f"{shop.url}/cart/items", {"product": 1, "quantity": 500})) == {1: 99}


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"product": "99"}, 404),
        ({"product": "teapot"}, 404),
        ({}, 404),
        ({"product": "1", "quantity": "-1"}, 400),
        ({"product": "1", "quantity": "many"}, 400),
        ({"product": "1", "action": "steal"}, 400),
    ],
)
def test_a_senseless_form_is_refused_and_stores_nothing(shop: Shop, form: dict[str, str], status: int) -> None:
    reply = Visitor().post(f"{shop.url}/cart/items", form)
    assert reply.status == status
    assert reply.set_cookie is None


def test_a_cart_survives_login(shop: Shop) -> None:
    visitor = buyer(shop, 2, 4, account=ADA)
    reply = visitor.get(f"{shop.url}/cart")
    assert reply.data["user"] == "ada"
    assert cart(reply) == {2: 1, 4: 1}


def test_a_quote_for_another_cart_does_not_count(shop: Shop) -> None:
    visitor = buyer(shop, 1)
    assert visitor.post(f"{shop.url}/cart/delivery").data["total"] == 3400 + 650
    assert visitor.post(f"{shop.url}/cart/items", {"product": 1}).data["total"] == 2 * 3400


# Accounts


@pytest.mark.parametrize("name", ["ada", "nobody"])
def test_a_wrong_password_logs_nobody_in(shop: Shop, name: str) -> None:
    visitor = Visitor()
    reply = visitor.post(f"{shop.url}/login", {"name": name, "password": "guess"})
    assert (reply.status, reply.data["user"], reply.set_cookie) == (401, None, None)


def test_login_gives_another_cookie_and_another_token(shop: Shop) -> None:
    visitor = buyer(shop, 1)
    before = visitor.again()
    _ = visitor.post(f"{shop.url}/login", ADA)
    assert visitor.cookie != before.cookie
    assert visitor.token != before.token
    assert before.again().get(f"{shop.url}/me").data["user"] is None


def test_logout_ends_the_session(shop: Shop) -> None:
    visitor = buyer(shop, 1, account=ADA)
    before = visitor.again()
    reply = visitor.post(f"{shop.url}/logout")
    assert (reply.data["user"], reply.data["things"], visitor.cookie) == (None, 0, None)
    again = before.get(f"{shop.url}/cart").data
    assert (again["user"], again["things"]) == (None, 0)


def test_pages_of_an_account_ask_for_a_login(shop: Shop) -> None:
    for path in ("/account/orders", "/account/sessions"):
        assert Visitor().get(shop.url + path).status == 401
        reply = Visitor().get(shop.url + path, Accept=HTML)
        assert (reply.status, reply.headers["location"]) == (303, "/login")
    assert Visitor().post(f"{shop.url}/account/sessions/revoke", {"others": 1}).status == 401


# Checkout


def test_checkout_writes_an_order_and_empties_the_cart(shop: Shop, market: Market) -> None:
    visitor = buyer(shop, 1, 5, account=ADA)
    _ = visitor.post(f"{shop.url}/cart/delivery")
    reply = visitor.post(f"{shop.url}/checkout")
    assert (reply.status, reply.data["things"]) == (201, 0)
    order = reply.data["order"]
    with market.database.open() as rows:
        found = rows.execute("SELECT account, cents FROM orders WHERE id = ?", (order,)).fetchone()
        lines = rows.execute("SELECT product, quantity FROM lines WHERE ordered = ?", (order,)).fetchall()
    assert tuple(found) == (1, 3400 + 975 + 650)
    assert {tuple(line) for line in lines} == {(1, 1), (5, 1)}
    assert visitor.get(f"{shop.url}/account/orders").data["orders"][0]["id"] == order


def test_checkout_needs_a_login_and_a_cart(shop: Shop) -> None:
    assert buyer(shop, 1).post(f"{shop.url}/checkout").status == 401
    assert buyer(shop, account=ADA).post(f"{shop.url}/checkout").status == 409


def test_a_cart_is_ordered_once_however_many_checkouts_come_at_once(shop: Shop, other: Shop, market: Market) -> None:
    visitor = buyer(shop, 1, account=ADA)
    with ThreadPoolExecutor(20) as pool:
        asked = [pool.submit(visitor.again().post, f"{each.url}/checkout") for each in (shop, other) * 10]
        replies = [reply.result() for reply in asked]
    assert sorted(reply.status for reply in replies) == [201] + [409] * 19
    (order,) = (reply.data["order"] for reply in replies if reply.status == 201)
    assert visitor.get(f"{shop.url}/account/orders").data["orders"][0]["id"] == order
    with market.database.open() as rows:
        assert rows.execute("SELECT count(*) FROM lines WHERE ordered = ?", (order,)).fetchone()[0] == 1


def test_a_checkout_that_is_sent_again_is_answered_alike_and_orders_nothing(shop: Shop, other: Shop) -> None:
    visitor = buyer(shop, 1, account=ADA)
    key = {"Idempotency-Key": '"8e03978e-40d5-43e8-bc93-6894a57f9324"'}
    first, again = (visitor.again().post(f"{each.url}/checkout", **key) for each in (shop, other))
    assert (first.status, again.status, again.data) == (201, 201, first.data)
    assert "idempotency-replayed" not in first.headers and again.headers["idempotency-replayed"] == "true"
    assert visitor.again().post(f"{other.url}/checkout", {"note": "be quick"}, **key).status == 422
    assert visitor.again().post(f"{other.url}/checkout", **{"Idempotency-Key": "two words"}).status == 400
    assert visitor.get(f"{shop.url}/account/orders").data["orders"][0]["id"] == first.data["order"]


def test_a_checkout_that_lost_its_lock_orders_nothing(market: Market) -> None:
    line = Line(catalogue.products(market.database)[0], 1, datetime.now(UTC))

    def place(fence: int) -> int:
        return orders.place(market.database, 1, "a cart", fence, [line], 0, datetime.now(UTC))

    assert place(5) < place(7) < place(7)
    with pytest.raises(orders.TakenOver):
        _ = place(6)


# Limits


def test_an_address_has_five_failures_a_minute_and_good_logins_are_none(shop: Shop, other: Shop) -> None:
    regular, guesser = Visitor(), Visitor()
    assert {regular.again().post(f"{shop.url}/login", ADA).status for _ in range(8)} == {200}
    for number in range(5):
        guess = {"name": f"{shop.name} {number}", "password": "x"}
        assert guesser.again().post(f"{(shop, other)[number % 2].url}/login", guess).status == 401
    refused = guesser.again().post(f"{other.url}/login", ADA)
    assert refused.status == 429 and refused.headers["content-type"] == "application/problem+json"
    assert b'"logins"' in refused.body
    assert 1 <= int(refused.headers["retry-after"]) <= 64
    assert Visitor().post(f"{shop.url}/login", ADA).status == 200


def test_an_account_has_five_failures_a_minute_wherever_they_come_from(shop: Shop, other: Shop) -> None:
    name = f"somebody of {shop.name}"
    tries = [Visitor().post(f"{each.url}/login", {"name": name, "password": "x"}) for each in (shop, other) * 4]
    assert [reply.status for reply in tries] == [401] * 5 + [429] * 3
    assert 1 <= int(tries[-1].headers["retry-after"]) <= 64
    assert Visitor().post(f"{shop.url}/login", {"name": f" {name.upper()} ", "password": "x"}).status == 429
    page = Visitor().post(f"{shop.url}/login", {"name": name, "password": "x"}, Accept=HTML)
    assert page.status == 429 and "Too many attempts" in page.body.decode()


def test_every_page_tells_what_is_left_and_a_burst_is_cut(shop: Shop, other: Shop) -> None:
    visitor = Visitor()
    replies = [visitor.get(f"{(shop, other)[number % 2].url}/healthz") for number in range(125)]
    assert [reply.status for reply in replies] == [200] * 120 + [429] * 5
    left = [reply.headers["ratelimit"].partition(";t=")[0] for reply in replies]
    assert left[:120] == [f'"visitors";r={119 - number}' for number in range(120)]
    assert Visitor().get(f"{shop.url}/healthz").status == 200


# My sessions


def test_my_sessions_are_listed_and_this_one_is_marked(shop: Shop) -> None:
    laptop = alone(shop, GRACE, "a laptop")
    phone = buyer(shop, account=GRACE, agent="a <phone>")
    listed = phone.get(f"{shop.url}/account/sessions").data["sessions"]
    assert {(each["user_agent"], each["current"]) for each in listed} == {("a laptop", False), ("a <phone>", True)}
    assert {each["address"] for each in listed} == {shortened(each.address) for each in (laptop, phone)}
    assert "a &lt;phone&gt;" in laptop.get(f"{shop.url}/account/sessions", Accept=HTML).body.decode()


def test_one_of_my_sessions_is_ended_at_once(shop: Shop) -> None:
    laptop, phone = alone(shop, GRACE, "a laptop"), buyer(shop, account=GRACE, agent="a phone")
    listed = laptop.get(f"{shop.url}/account/sessions").data["sessions"]
    handle = next(each["handle"] for each in listed if each["user_agent"] == "a phone")
    assert laptop.post(f"{shop.url}/account/sessions/revoke", {"handle": handle}).data["revoked"] == 1
    assert phone.get(f"{shop.url}/account/sessions").status == 401
    assert laptop.get(f"{shop.url}/account/sessions").status == 200


def test_all_my_other_sessions_are_ended_at_once(shop: Shop) -> None:
    laptop = alone(shop, GRACE, "a laptop")
    phones = [buyer(shop, account=GRACE, agent="a phone") for _ in range(3)]
    assert laptop.post(f"{shop.url}/account/sessions/revoke", {"others": 1}).data["revoked"] == 3
    assert [phone.get(f"{shop.url}/account/sessions").status for phone in phones] == [401, 401, 401]
    assert laptop.get(f"{shop.url}/account/sessions").status == 200


def test_ending_this_session_is_a_logout(shop: Shop) -> None:
    visitor = alone(shop, GRACE, "a laptop")
    (mine,) = visitor.get(f"{shop.url}/account/sessions").data["sessions"]
    assert visitor.post(f"{shop.url}/account/sessions/revoke", {"handle": mine["handle"]}).data["user"] is None
    assert visitor.cookie is None


def test_nobody_ends_the_session_of_somebody_else(shop: Shop) -> None:
    ada, grace = buyer(shop, account=ADA), alone(shop, GRACE, "a laptop")
    (hers,) = grace.get(f"{shop.url}/account/sessions").data["sessions"]
    for handle in (hers["handle"], "", "0" * 72, "é"):
        assert ada.post(f"{shop.url}/account/sessions/revoke", {"handle": handle}).data["revoked"] == 0
    assert grace.get(f"{shop.url}/account/sessions").status == 200


# Forms


def test_a_browser_finds_the_token_in_the_form_and_is_sent_on(shop: Shop) -> None:
    visitor = Visitor()
    reply = visitor.post(f"{shop.url}/cart/items", {"product": 1}, Accept=HTML, Origin=shop.url)
    assert (reply.status, reply.headers["location"]) == (303, "/cart")
    page = visitor.get(f"{shop.url}/cart", Accept=HTML).body.decode()
    token = re.search(r'name="csrf" value="([^"]+)"', page)
    assert token is not None
    form = {"product": 1, "quantity": 3, "action": "set", "csrf": token[1]}
    assert visitor.post(f"{shop.url}/cart/items", form, Accept=HTML, Origin=shop.url).status == 303
    assert cart(visitor.get(f"{shop.url}/cart")) == {1: 3}


@pytest.mark.parametrize(
    "path", ["/cart/items", "/cart/delivery", "/checkout", "/login", "/logout", "/account/sessions/revoke"]
)
def test_a_form_without_the_sessions_token_is_refused(shop: Shop, path: str) -> None:
    visitor = buyer(shop, 1, account=ADA)
    for token in ("", "guess", "é"):
        assert visitor.again().post(shop.url + path, {**ADA, "product": 5, "csrf": token}).status == 403
    reply = visitor.get(f"{shop.url}/cart")
    assert (reply.data["user"], cart(reply)) == ("ada", {1: 1})


@pytest.mark.parametrize("origin", ["https://elsewhere.example", "null"])
def test_a_form_of_another_site_is_refused(shop: Shop, origin: str) -> None:
    reply = Visitor().post(f"{shop.url}/login", ADA, Origin=origin)
    assert (reply.status, reply.set_cookie) == (403, None)


def test_the_session_cookie_is_kept_from_scripts_and_other_sites(shop: Shop) -> None:
    cookie = (Visitor().post(f"{shop.url}/cart/items", {"product": 1}).set_cookie or "").lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie


# Across the frameworks


def test_a_session_begun_in_one_shop_goes_on_in_the_next(shop: Shop, other: Shop) -> None:
    visitor = buyer(shop, 1)
    _ = visitor.post(f"{other.url}/cart/items", {"product": 2})
    _ = visitor.post(f"{shop.url}/login", ADA)
    here, there = visitor.get(f"{shop.url}/cart").data, visitor.get(f"{other.url}/cart").data
    assert here == there
    assert (there["user"], there["things"]) == ("ada", 2)


def test_a_health_check_does_not_look_at_the_session(shop: Shop) -> None:
    reply = buyer(shop, 1, account=ADA).get(f"{shop.url}/healthz")
    assert reply.status == 200
    assert "cookie" not in reply.headers.get("vary", "").lower()
