"""HTTP-dates (RFC 9110 section 5.6.7), as whole seconds since 1970: three formats to read, one to write.

Names compare without case and GMT is the only time zone, as RFC 9111 section 4.2 asks of caches. Whether the day of
the week fits the date is not looked at: the time is certain without it.
"""

import re
from datetime import UTC, datetime
from email.utils import formatdate

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAY = r"(?:mon|tue|wed|thu|fri|sat|sun)"
_LONG_DAY = r"(?:monday|tuesday|wednesday|thursday|friday|saturday|sunday)"
_MONTH = rf"(?P<month>{'|'.join(_MONTHS)})"
_TIME = r"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"

_FORMATS = [
    re.compile(pattern, re.ASCII | re.IGNORECASE)
    for pattern in (
        rf"{_DAY}, (?P<day>\d\d) {_MONTH} (?P<year>\d{{4}}) {_TIME} GMT",
        rf"{_LONG_DAY}, (?P<day>\d\d)-{_MONTH}-(?P<year>\d\d) {_TIME} GMT",
        rf"{_DAY} {_MONTH} (?P<day>\d\d| \d) {_TIME} (?P<year>\d{{4}})",
    )
]


def parse_date(text: str, now: int) -> int | None:
    """The time that an HTTP-date names, None for anything else; never raises.

    ``now`` decides the century of a year with two digits: more than fifty years ahead is the past.
    """
    text = text.strip(" \t")
    found = next((match for each in _FORMATS if (match := each.fullmatch(text))), None)
    if found is None:
        return None
    parts = found.groupdict()
    year = int(parts["year"])
    if len(parts["year"]) == 2:
        year = _full(year, now)
    # A leap second is read as the one before it: an expiry is never later than what was sent.
    second = min(int(parts["second"]), 59) if parts["second"] == "60" else int(parts["second"])
    month = _MONTHS.index(parts["month"].lower()) + 1
    try:
        moment = datetime(year, month, int(parts["day"]), int(parts["hour"]), int(parts["minute"]), second, tzinfo=UTC)
    except ValueError:
        return None
    return int(moment.timestamp())


def _full(year: int, now: int) -> int:
    """The year with these last two digits, at most fifty years ahead (RFC 9110 section 5.6.7)."""
    this = datetime.fromtimestamp(now, UTC).year
    full = this - this % 100 + year
    if full > this + 50:
        return full - 100
    return full + 100 if full <= this - 50 else full


def format_date(seconds: int) -> str:
    """A time as senders must write it: ``Sun, 06 Nov 1994 08:49:37 GMT``."""
    return formatdate(seconds, usegmt=True)
