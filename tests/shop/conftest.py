"""The shops, each served over real HTTP, started once for all tests of this room."""

from collections.abc import Iterator

import pytest

from sample_apps.demo.market import COMMANDS, Market, Shop


@pytest.fixture(scope="session")
def market() -> Iterator[Market]:
    with Market() as market:
        market.await_answers()
        yield market


@pytest.fixture(params=COMMANDS)
def shop(request: pytest.FixtureRequest, market: Market) -> Shop:
    return next(shop for shop in market.shops if shop.name == request.param)


@pytest.fixture
def other(shop: Shop, market: Market) -> Shop:
    """The shop after ``shop``, of another framework or another kind of server."""
    return market.shops[(market.shops.index(shop) + 1) % len(market.shops)]
