"""The remedy for a name that is not known: the nearest one that is."""

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, known: Iterable[str]) -> str:
    """``did you mean "idle"?``, or, when nothing is near, all that is known."""
    names = [str(each) for each in known]
    close = get_close_matches(name.lower(), names, n=1, cutoff=0.6)
    return f'did you mean "{close[0]}"?' if close else "known: " + ", ".join(names)
