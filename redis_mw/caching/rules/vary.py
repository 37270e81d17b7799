"""By which fields of a request a response varies, and the key of a variant (RFC 9111 section 4.1, RFC 9110 12.5.5)."""

from collections.abc import Collection, Iterable
from hashlib import blake2b

from redis_mw.caching.rules.fields import Pairs, without
from redis_mw.http.lists import elements, is_token
from redis_mw.http.request import Fields, Headers

ANY = "*"
"""Varies by what is in no field: no other request is ever the same."""


THE_ONE = blake2b(digest_size=16).hexdigest()
"""The key of the one variant of a URL that varies by nothing."""


def vary(headers: Headers) -> tuple[str, ...]:
    """The names in all lines of Vary, in lower case, sorted, each once; ``("*",)`` where the star is among them.

    What is no name of a field is taken for the star: a response that varies by something unknown is not shared.
    """
    names = {name.lower() for name in elements(headers.get_all("vary"))}
    if ANY in names or not all(is_token(name) for name in names):
        return (ANY,)
    return tuple(sorted(names))


def together(*lists: Iterable[str]) -> tuple[str, ...]:
    """The names of several Vary lists, and of what a rule adds, as one; the star swallows the others."""
    names = {name.lower() for each in lists for name in each}
    return (ANY,) if ANY in names else tuple(sorted(names))


def varying(fields: Pairs, names: Collection[str]) -> Pairs:
    """The fields of a response with these names in its Vary, which is one line then; the star says it all."""
    if not names:
        return fields
    said = vary(Fields(fields))
    more = [name for name in dict.fromkeys(names) if name.lower() not in said]
    if not more or said == (ANY,):
        return fields
    before = [value for name, value in fields if name.lower() == "vary"]
    return (*without(fields, "vary"), ("Vary", ", ".join([*before, *more])))


def unvarying(fields: Pairs, name: str) -> Pairs:
    """The fields of a response without this name in its Vary, of which nothing is left where it was the only one."""
    said = vary(Fields(fields))
    if name.lower() not in said:
        return fields
    left = [each for each in said if each != name.lower()]
    return (*without(fields, "vary"), *([("Vary", ", ".join(left))] if left else []))


def variant(headers: Headers, names: Collection[str]) -> str:
    """The key of the variant that a request selects: 32 hexadecimal digits, the same for the same values.

    Each value counts with its length, so no two different requests meet by how their values join. A field that is not
    there differs from an empty one; the lines of one field are joined as RFC 9110 section 5.3 says. Values are taken
    as they were sent, but for white space around each line: nothing is known of how a handler reads them.
    """
    if not names:
        return THE_ONE
    key = blake2b(digest_size=16)
    for name in sorted({name.lower() for name in names}):
        lines = headers.get_all(name)
        key.update(_part(name))
        key.update(_part(", ".join(line.strip(" \t") for line in lines)) if lines else b"-")
    return key.hexdigest()


def _part(text: str) -> bytes:
    data = text.encode("utf-8", "surrogatepass")
    return b"%d:%b" % (len(data), data)
