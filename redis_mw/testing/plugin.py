"""The pytest plugin ``redis_mw``: a server for the whole run, and for each test settings that share nothing.

pytest loads this in every project that has redis-mw installed, so nothing is imported, let alone started, before a
test asks for a fixture.
"""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

if TYPE_CHECKING:
    from redis_mw.settings import Settings

SECRET = "for tests only, known to everybody"
PATIENCE = 10.0


@pytest.fixture(scope="session")
def redis_mw_url() -> Iterator[str]:
    """The url of the test server: ``$REDIS_MW_TEST_URL``, else a private one of this process, ended with the run."""
    given = os.environ.get("REDIS_MW_TEST_URL")
    if given:
        yield given
        return
    from redis_mw.testing.servers import embedded

    with embedded() as url:
        yield url


@pytest.fixture
def redis_mw_settings(redis_mw_url: str) -> "Iterator[Settings]":
    """Settings with a prefix that no other test or parallel worker has; its keys are dropped when the test is over.

    They wait for the server much longer than an application should: a busy machine that stands still for a moment is
    no outage. A test of what an outage does takes ``outage()``, or sets a patience of its own.
    """
    from redis_mw.settings import Idempotency, Locks, Sessions, Settings
    from redis_mw.testing.servers import drop_keys

    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    settings = Settings(
        url=redis_mw_url,
        prefix=f"test-{worker}-{uuid4().hex[:12]}",
        secret=SECRET,
        warm_up=PATIENCE,
        connect_within=PATIENCE,
        patience=PATIENCE,
        sessions=Sessions(patience=PATIENCE),
        locks=Locks(patience=PATIENCE),
        idempotency=Idempotency(patience=PATIENCE),
    )
    yield settings
    _ = drop_keys(redis_mw_url, settings.prefix)
