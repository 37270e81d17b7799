"""What the steps of the tour are made of: rows about shops, requests held in flight, counts taken behind the scenes."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from redis_mw import RedisMW, replace
from sample_apps.demo.market import Market, Shop
from sample_apps.demo.table import Table
from sample_apps.demo.visitor import Reply, Visitor
from sample_apps.shop import configuration

RECOVERY = 30.0
CROWD = 100
"""How many visitors may come at once."""
SAMPLES = 5
MOST_SAMPLES = 40


class Guide:
    """Knows the market from outside and from behind, and keeps the table."""

    def __init__(self, market: Market, table: Table) -> None:
        self.market = market
        self.shops = market.shops
        self.table = table
        self.mw = RedisMW(replace(configuration.settings(), url=market.valkey.url))
        self._pool = ThreadPoolExecutor(CROWD, "tour")

    def row(self, shop: Shop | str, what: str, expected: object, seen: object) -> None:
        """One row: where, what was done, what should come of it, what did."""
        self.table.row(shop if isinstance(shop, str) else shop.name, what, expected, seen)

    def pairs(self) -> list[tuple[Shop, Shop]]:
        """Each shop with the one after it."""
        return list(zip(self.shops, [*self.shops[1:], self.shops[0]], strict=True))

    @contextmanager
    def in_flight(self, visitor: Visitor, shop: Shop) -> "Iterator[Future[Reply]]":
        """A request that has read its session and has not answered yet, for as long as the block lasts.

        It asks for the price of a delivery, and the carrier takes its time.
        """
        with self.market.carrier.busy() as asked:
            slow = self._pool.submit(visitor.again().post, f"{shop.url}/cart/delivery")
            while not asked.wait(0.05):
                if slow.done():
                    raise ValueError(f"{shop.name} answered {slow.result().status} and did not ask the carrier")
            yield slow

    def at_once(self, asks: Sequence[Callable[[], Reply]]) -> "list[Future[Reply]]":
        """Requests that are sent side by side."""
        return [self._pool.submit(ask) for ask in asks]

    def until(self, what: str, count: Callable[[], int], wanted: int) -> None:
        """Wait until there are so many; raises ``TimeoutError``."""
        end = time.monotonic() + RECOVERY
        while count() != wanted:
            if time.monotonic() > end:
                raise TimeoutError(f"{count()} {what}, not {wanted}")
            time.sleep(0.02)

    def least(
        self,
        expected: int,
        count: Callable[[], int],
        ask: Callable[[], object],
        first: Callable[[], object] = lambda: None,
    ) -> int:
        """By how much ``ask`` raises a count, at the quietest of some samples; ``first`` is done before each.

        What clients send on their own, now and then, and what follows an earlier response can only add to a sample,
        and adds to most of them where the machine is slow; so more are taken as long as all are too high.
        """
        seen: list[int] = []
        while len(seen) < SAMPLES or (min(seen) > expected and len(seen) < MOST_SAMPLES):
            _ = first()
            before = count()
            _ = ask()
            seen.append(count() - before)
        return min(seen)

    def trips(
        self, shop: Shop, what: str, expected: int, ask: Callable[[], Reply], first: Callable[[], object] = lambda: None
    ) -> None:
        """A row about the round trips of one request."""
        # The counting itself is one.
        self.row(shop, what, expected, self.least(expected + 1, self.reads, ask, first) - 1)

    def reads(self) -> int:
        """How often Redis has read from a connection."""
        return int(self.market.redis.info("stats")["total_reads_processed"])

    def scripts(self) -> int:
        """How many scripts Redis has run: one for the limits of a request, one for each thing done to a session."""
        return int(self.market.redis.info("commandstats")["cmdstat_evalsha"]["calls"])

    def stored(self) -> set[bytes]:
        """The keys of sessions; what ends in ``:i`` lists those of a user."""
        keys: list[bytes] = self.market.redis.keys("shop:s1:*")  # type: ignore[assignment]
        return {key for key in keys if not key.endswith(b":i")}

    def holding(self) -> int:
        """How many requests hold a lock, by the time of this machine."""
        redis, now = self.market.redis, time.time_ns() // 1000
        return sum(int(redis.zcount(key, now, "+inf")) for key in redis.keys("shop:k1:*:h"))

    def waiting(self) -> int:
        """How many wait for one."""
        return sum(int(self.market.redis.zcard(key)) for key in self.market.redis.keys("shop:k1:*:q"))

    def orders(self) -> dict[int, str]:
        """All orders in the database: whose, and for how many cents."""
        query = "SELECT orders.id, name, cents FROM orders JOIN accounts ON accounts.id = account"
        with self.market.database.open() as rows:
            return {row["id"]: f"{row['name']} {row['cents']}" for row in rows.execute(query)}

    def close(self) -> None:
        """Wait for what is in flight."""
        self._pool.shutdown()
        self.mw.close()


def products(cart: Reply) -> str:
    """The numbers of the products in a cart, in the order in which they were added."""
    return " ".join(str(line["id"]) for line in cart.data["lines"])


def who(visitor: Visitor, shop: Shop) -> str:
    """Who is logged in, and how many things are in the cart."""
    data = visitor.again().get(f"{shop.url}/cart").data
    return f"{data['user'] or 'nobody'}, {data['things']}"


def times(statuses: list[int]) -> str:
    """``5 x 401, 3 x 429``: each status with how often it came, in the order of the numbers."""
    return ", ".join(f"{count} x {status}" for status, count in sorted(Counter(statuses).items()))


def kept(reply: Reply) -> str:
    """What a shop says of its cache (RFC 9211): a page was ``made``, ``made, kept``, ``given``, or given ``stale``."""
    told = reply.headers.get("cache-status", "")
    if ";hit" in told:
        return "stale" if ";ttl=-" in told else "given"
    return "made, kept" if ";stored" in told else "made"


def eventually(ask: Callable[[], Reply], wanted: int | Callable[[Reply], bool]) -> Reply:
    """Ask again and again until the answer has this status, or is as wanted, or it has taken too long."""
    until = time.monotonic() + RECOVERY

    def good(reply: Reply) -> bool:
        return wanted(reply) if callable(wanted) else reply.status == wanted

    while not good(reply := ask()) and time.monotonic() < until:
        time.sleep(0.1)
    return reply
