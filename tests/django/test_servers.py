"""Over real HTTP: gunicorn's workers, and clients that hang up in the middle of a request."""

from pathlib import Path

import pytest
from gunicorn_server import SYNC, THREADS, hang_up_beside_another, serving

from redis_mw.settings import Settings


@pytest.mark.parametrize("workers", [SYNC, THREADS], ids=["sync", "threads"])
def test_after_clients_that_hung_up_everybody_gets_their_own_answers(
    redis_mw_settings: Settings, tmp_path: Path, workers: list[str]
) -> None:
    with serving(Path(__file__).parent, redis_mw_settings, tmp_path / "log", *workers) as browser:
        hang_up_beside_another(browser, "/")
