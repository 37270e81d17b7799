"""Validators: is the client's copy the current one (RFC 9110 section 13), and is ours (RFC 9111 section 4.3)?"""

from collections.abc import Iterable
from hashlib import sha256

from redis_mw.caching.rules.directives import TARGETED
from redis_mw.caching.rules.fields import Pairs
from redis_mw.http.dates import parse_date
from redis_mw.http.etags import EntityTag, is_any, parse_etag, parse_etags
from redis_mw.http.request import Fields, Headers

KEPT_BY_304 = frozenset({"age", "cache-control", "content-location", "date", "etag", "expires", "vary", TARGETED})
"""The fields of a stored response that go out with a 304 (RFC 9110 section 15.4.5)."""


def is_not_modified(request: Headers, stored: Headers, *, now: int) -> bool:
    """Whether a GET or HEAD that a stored 200 would answer is answered by 304 (RFC 9111 section 4.3.2).

    If-None-Match decides alone where it is there, even badly written (RFC 9110 section 13.1.3): comparison is weak,
    and what cannot be read matches nothing. ``now`` in seconds, for dates with two digits of a year.
    """
    lines = request.get_all("if-none-match")
    if lines:
        own = parse_etag(stored.get("etag"))
        return is_any(lines) or (own is not None and any(own.is_weakly(tag) for tag in parse_etags(lines) or ()))
    lines = request.get_all("if-modified-since")
    since = parse_date(lines[0], now) if len(lines) == 1 else None
    if since is None:
        return False
    changed = last_change(stored, now=now)
    return changed is not None and changed <= since


def last_change(stored: Headers, *, now: int) -> int | None:
    """When a stored response changed last, as far as it says: Last-Modified, else its Date (RFC 9111 section 4.3.2)."""
    for name in ("last-modified", "date"):
        if (line := stored.get(name)) is not None:
            return parse_date(line, now)
    return None


def not_modified_fields(fields: Iterable[tuple[str, str]]) -> Pairs:
    """What a 304 carries: nothing of the representation but what updates the client's copy (RFC 9110 15.4.5).

    Last-Modified only where there is no ETag, as it would add nothing to one.
    """
    pairs = tuple(fields)
    names = {name.lower() for name, _ in pairs}
    kept = KEPT_BY_304 if "etag" in names else KEPT_BY_304 | {"last-modified"}
    return tuple(pair for pair in pairs if pair[0].lower() in kept)


def own_etag(url: str, variant: str, body: bytes) -> str:
    """A strong ETag for a response that came without: the same bytes at the same place, and nothing else, have it.

    URL and variant count, so that the validator of one URL never answers a question about another (RFC 9110 section
    8.8.3.3 asks for differing ones by variant). Not for dynamic compression outside of us: that must weaken it.
    """
    whole = sha256()
    for text in (url, variant):
        data = text.encode("utf-8", "surrogatepass")
        whole.update(b"%d:%b" % (len(data), data))
    whole.update(body)
    return str(EntityTag(whole.hexdigest()[:32]))


def conditions(stored: Headers) -> Pairs:
    """The fields that ask the application whether a stored response is still the one (RFC 9111 section 4.3.1)."""
    fields: list[tuple[str, str]] = []
    if (tag := parse_etag(stored.get("etag"))) is not None:
        fields.append(("If-None-Match", str(tag)))
    if (modified := stored.get("last-modified")) is not None:
        fields.append(("If-Modified-Since", modified))
    return tuple(fields)


def is_about(not_modified: Headers, stored: Headers) -> bool:
    """Whether a 304 is about this stored response, so that it may be freshened (RFC 9111 section 4.3.4).

    By its ETag, strongly where that is strong; else by Last-Modified; one without either is about a response without
    either.
    """
    told, own = not_modified.get("etag"), stored.get("etag")
    if told is not None:
        new, old = parse_etag(told), parse_etag(own)
        if new is None or old is None:
            return False
        return new.is_weakly(old) if new.weak else new.is_strongly(old)
    told = not_modified.get("last-modified")
    if told is not None:
        return told.strip() == (stored.get("last-modified") or "").strip()
    return own is None and stored.get("last-modified") is None


def with_etag(fields: Pairs, etag: str) -> Pairs:
    """The fields with an ETag, which only those get that have none."""
    return fields if Fields(fields).get("etag") is not None else (*fields, ("ETag", etag))
