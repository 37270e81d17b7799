"""What one request of a cached route wants of its page, and what it may have to do with others that want it too.

Known before anything is asked.
"""

import msgspec

from redis_mw.caching.pages.commands import Question
from redis_mw.caching.pages.entry import Entry, Whose
from redis_mw.caching.pages.hidden import OF_A_COPY, OF_SOMEBODY, Without
from redis_mw.caching.room import Room
from redis_mw.caching.rules.directives import Directives, request_directives
from redis_mw.caching.rules.reuse import FOR_THE_ORIGIN
from redis_mw.caching.rules.vary import together, variant
from redis_mw.http.request import Request

CONDITIONS = OF_A_COPY - {"range"}
"""What is mostly answered without the body of the page."""
FOR_ONE = FOR_THE_ORIGIN | {"upgrade"}
"""What is answered for one client only."""
IMPATIENT = ("no-cache", "max-age", "min-fresh")
"""What a client says that is not content with a page as it is."""


class Asked(msgspec.Struct, frozen=True):
    """A request for the page called ``name``; what is made of it hangs on ``tags``.

    ``leads``: the answer may be kept, as far as that depends on the request. ``private``: it comes with credentials,
    so most pages are not for it. ``alone``: it waits for nobody, and nobody for it. ``anyhow``: it may not be content
    with what is fresh. ``nobodys``: nobody has sent it; ``anybodys``: the page has the same name for everybody;
    ``whose`` it is, see there. ``varies`` are the fields of the request by which the answer
    is said to vary, besides what the application says.
    """

    request: Request
    name: str
    tags: tuple[str, ...]
    question: Question
    leads: bool
    private: bool
    alone: bool
    anyhow: bool
    anybodys: bool
    whose: Whose
    varies: tuple[str, ...]
    nobodys: bool = False

    def is_refreshable(self, question: Question) -> bool:
        """Whether a request of nobody's makes the page that this one is for."""
        return self.anybodys and OF_SOMEBODY.isdisjoint(question.names)

    def of_nobody(self, question: Question) -> "Asked":
        """The request for the same page that nobody has sent."""
        headers = Without(self.request.headers, OF_A_COPY | OF_SOMEBODY)
        request = msgspec.structs.replace(self.request, method="GET", headers=headers)
        return msgspec.structs.replace(
            self,
            request=request,
            question=question,
            leads=True,
            private=False,
            alone=False,
            anyhow=False,
            nobodys=True,
        )


def asked(
    room: Room, entry: Entry, request: Request, name: str, tags: tuple[str, ...], *, whose: Whose = "anybody"
) -> Asked:
    """What a request of this route asks; ``whose`` is what the entry says of its path."""
    headers, says = request.headers, request_directives(request.headers)
    private = headers.get("authorization") is not None
    leads, anyhow = is_for_others(request, says), room.honour_client and any(each in says for each in IMPATIENT)
    known = room.memory.vary.get(name)
    names = entry.vary if known is None else together(known, entry.vary)
    question = Question(
        name,
        names,
        variant(headers, names),
        with_body=request.method == "GET" and not headers.has_any(CONDITIONS),
        misses=leads,
        anyhow=anyhow,
        tags=tags,
    )
    return Asked(
        request,
        name,
        tags,
        question,
        leads=leads,
        private=private,
        alone=anyhow or "no-store" in says or (private and not entry.terms.public),
        anyhow=anyhow,
        anybodys=entry.is_anybodys(),
        whose=whose,
        varies=entry.varies(whose),
    )


def is_for_others(request: Request, asked: Directives) -> bool:
    """Whether the answer to a request may be kept, as far as that depends on the request, so that it may lead."""
    if request.method != "GET" or "no-store" in asked or "only-if-cached" in asked:
        return False
    return not request.headers.has_any(FOR_ONE)
