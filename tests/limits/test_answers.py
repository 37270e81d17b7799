"""What a client is told: fields that a parser of structured fields reads back, and refusals."""

from typing import Any

import http_sf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redis_mw import Limit, Strikes, Verdict
from redis_mw.limits.check import Checked
from redis_mw.limits.fields import EXPOSED, fields
from redis_mw.limits.quota import Quota, quota_of
from redis_mw.limits.refusals import refusal
from redis_mw.settings.texts import TOKEN

QUOTAS = {
    name: quota_of(limit, "")
    for name, limit in {
        "burst": Limit("100/minute"),
        "daily": Limit("1000/day", algorithm="fixed"),
        "slots": Limit("20 in flight"),
        "short": Limit("10/s", algorithm="gcra", burst=2),
        "hidden": Limit("5/hour", shadow=True),
    }.items()
}


def verdict(name: str, remaining: int = 5, **given: Any) -> Verdict:
    quota = QUOTAS[name]
    given = {"allowed": True, "reset_after": 12.3, **given}
    return Verdict(limit=quota.amount, name=name, remaining=remaining, shadow=quota.limit.shadow, **given)


def told(*verdicts: Verdict, style: Any = "standard", one: bool = False) -> dict[str, str]:
    quotas = {each.name: QUOTAS[each.name] for each in verdicts}
    return dict(fields(verdicts, quotas, style=style, one=one))


def read(value: str) -> list[tuple[str, dict[str, Any]]]:
    return [(item, dict(parameters)) for item, parameters in http_sf.parse(value.encode(), tltype="list")]


def test_all_policies_and_what_is_left_of_each_are_told() -> None:
    found = told(verdict("burst"), verdict("daily", 412, reset_after=30109.2), verdict("slots", 3), verdict("short"))
    assert read(found["RateLimit-Policy"]) == [
        ("burst", {"q": 100, "w": 60}),
        ("daily", {"q": 1000, "w": 86400}),
        ("slots", {"q": 20, "qu": "concurrent-requests"}),
        ("short", {"q": 10, "w": 1}),
    ]
    assert read(found["RateLimit"]) == [
        ("burst", {"r": 5, "t": 13}),
        ("daily", {"r": 412, "t": 30110}),
        ("slots", {"r": 3}),
        ("short", {"r": 5, "t": 13}),
    ]
    assert set(found) <= set(EXPOSED)


def test_who_is_denied_is_told_when_to_come_back() -> None:
    found = told(verdict("burst", allowed=False, remaining=0, retry_after=4.001, reset_after=60), verdict("daily"))
    assert read(found["RateLimit"])[0] == ("burst", {"r": 0, "t": 5})


def test_what_is_left_of_a_limit_that_denies_a_costly_request_is_told_as_nothing() -> None:
    assert read(told(verdict("burst", 3, allowed=False, retry_after=0.2))["RateLimit"]) == [("burst", {"r": 0, "t": 1})]


def test_only_the_nearest_to_its_end_may_be_told() -> None:
    found = told(verdict("burst", 50), verdict("daily", 100), verdict("slots", 15), one=True)
    assert [name for name, _ in read(found["RateLimit"])] == ["daily"]
    assert len(read(found["RateLimit-Policy"])) == 3
    denied = [verdict("burst", 0, allowed=False, retry_after=5), verdict("daily", 0, allowed=False, retry_after=50)]
    assert [name for name, _ in read(told(*denied, one=True)["RateLimit"])] == ["daily"]


def test_the_older_fields_tell_of_the_nearest_in_seconds() -> None:
    assert told(verdict("burst", 50), verdict("daily", 100), style="legacy") == {
        "X-RateLimit-Limit": "1000",
        "X-RateLimit-Remaining": "100",
        "X-RateLimit-Reset": "13",
    }
    assert len(told(verdict("burst"), style="both")) == 5
    assert told(verdict("burst"), style="none") == {} == told()


def test_shadowed_and_degraded_limits_are_not_told_of() -> None:
    assert told(verdict("hidden")) == told(verdict("burst", degraded=True)) == {}
    found = told(verdict("hidden"), verdict("burst"), verdict("daily", degraded=True))
    assert [name for name, _ in read(found["RateLimit-Policy"])] == ["burst"]
    assert [name for name, _ in read(found["RateLimit"])] == ["burst"]


amounts = st.integers(0, 999_999_999_999)
seconds = st.floats(0, 200_000_000)


@given(st.from_regex(TOKEN, fullmatch=True), amounts, seconds, seconds, st.booleans())
def test_whatever_a_verdict_says_can_be_read(
    name: str, remaining: int, reset_after: float, retry_after: float, allowed: bool
) -> None:
    quota = quota_of(Limit("999999999999/1800d", name=name).checked("here"), "")
    assert quota.name == name
    said = Verdict(allowed=allowed, limit=quota.amount, name=name, remaining=remaining, reset_after=reset_after,
                   retry_after=retry_after)  # fmt: skip
    found = dict(fields([said], {name: quota}, style="standard", one=False))
    ((label, parameters),) = read(found["RateLimit"])
    assert label == name and parameters["r"] == (remaining if allowed else 0)
    assert parameters["t"] >= max(1, reset_after if allowed else retry_after)
    assert read(found["RateLimit-Policy"]) == [(name, {"q": 999_999_999_999, "w": 155_520_000})]


@pytest.mark.parametrize(
    ("checked", "status", "retry_after", "kind", "violated"),
    [
        (Checked((), "list", None), 403, None, "abnormal-usage-detected", None),
        (Checked((), "list", 30.0), 429, 30.0, "abnormal-usage-detected", None),
        (Checked((), "closed", 1.0), 503, 1.0, "temporary-reduced-capacity", None),
        (
            Checked((verdict("burst"), verdict("daily", 0, allowed=False, retry_after=9)), "limit", 9.0),
            429,
            9.0,
            "quota-exceeded",
            ["daily"],
        ),
        (
            Checked((verdict("burst", 0, allowed=False, retry_after=9, banned=True),), "limit", 9.0),
            429,
            9.0,
            "abnormal-usage-detected",
            ["burst"],
        ),
    ],
    ids=["deny list", "banned for a while", "closed", "a limit", "banned by strikes"],
)
def test_a_refusal_says_why_and_for_how_long(
    checked: Checked, status: int, retry_after: float | None, kind: str, violated: Any
) -> None:
    error = refusal(checked, QUOTAS)
    assert (error.status, error.retry_after, error.verdicts) == (status, retry_after, checked.verdicts)
    assert error.problem["type"] == f"https://iana.org/assignments/http-problem-types#{kind}"
    assert error.problem.get("violated-policies") == violated
    assert error.problem["title"] and str(error) == error.problem["detail"]


def test_a_limit_may_have_a_status_of_its_own_and_the_longest_decides() -> None:
    quotas: dict[str, Quota] = {
        "slots": quota_of(Limit("2 in flight", status=503), ""),
        "burst": quota_of(Limit("5/minute"), ""),
    }

    def refused(slots: float, burst: float) -> Any:
        denied = [Verdict(allowed=False, limit=2, name=name, remaining=0, retry_after=wait)
                  for name, wait in (("slots", slots), ("burst", burst))]  # fmt: skip
        return refusal(Checked(tuple(denied), "limit", max(slots, burst)), quotas)

    assert refused(2, 1).status == 503 and refused(2, 1).problem["type"].endswith("#temporary-reduced-capacity")
    assert refused(1, 2).status == 429 and refused(1, 2).problem["type"].endswith("#quota-exceeded")
    assert refused(1, 2).problem["violated-policies"] == ["slots", "burst"]


@pytest.mark.parametrize(
    ("rate", "name"),
    [("5/s", "5-per-1s"), ("5/90s", "5-per-90s"), ("5/minute", "5-per-m"), ("5/15m", "5-per-15m"), ("5/60m", "5-per-h"),
     ("5/day", "5-per-d"), ("5/7d", "5-per-w"), ("5/month", "5-per-1mo"), ("5/3months", "5-per-3mo"),
     ("5 in flight", "5-in-flight")],
)  # fmt: skip
def test_a_limit_is_called_by_its_rate(rate: str, name: str) -> None:
    assert quota_of(Limit(rate), "here").name == name and TOKEN.fullmatch(name)


def test_strikes_are_told_to_the_script_in_microseconds() -> None:
    quota = quota_of(Limit("5/minute", strikes=Strikes(after=3, ban=1.5, factor=4, cap=60)), "")
    assert quota.strikes == "3:1500000:4:60000000"
