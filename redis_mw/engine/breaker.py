"""The breaker of one endpoint: when not to ask a server that does not answer. Pure state, no I/O, no clock of its own.

Two classes of command are judged apart. *Quick* ones (cache, limits) have a policy that does well without Redis, so
they are refused as soon as the server is slow; *firm* ones (sessions, locks) only when it is gone.

A turn without a reply or a lost wire makes the endpoint *suspect*, and the driver starts one PING on a fresh
connection. That probe is judged once per class: unanswered after half the quick patience it opens quick, unanswered
after the firm patience it opens firm too. So one slow reply opens nothing, and a server that takes 200 ms goes on
serving sessions. Failures are counted as well (five in a row, or half of twenty within ten seconds), as events: what
was already under way when the last failure was noticed belongs to that failure. While open, only a background probe
closes it again: no request pays for finding out.

Seconds everywhere, from one monotonic clock.
"""

from collections import deque
from collections.abc import Callable
from typing import Literal, TypeAlias

from redis_mw.settings import Settings, seconds

Class: TypeAlias = Literal["quick", "firm"]
Changed: TypeAlias = Callable[[Class, bool], None]

ROW = 5
WINDOW = 20
WINDOW_S = 10.0
FIRST_S = 1.0
LONGEST_S = 30.0
JITTER = 0.25
ROUNDING = 0.9
"""Who waited nearly the whole patience of a class was as patient as that class."""


class Breaker:
    """Says for each class whether to ask the server at all, and tells the driver when to probe it.

    ``quick_s`` and ``firm_s`` are the patience of the two classes, ``random`` gives numbers of [0, 1). ``changed(class,
    is_open)`` is called on every transition; the driver ends what is still waiting in a class that opens.
    """

    def __init__(
        self,
        random: Callable[[], float],
        *,
        quick_s: float = 0.1,
        firm_s: float = 1.0,
        changed: Changed = lambda _class, _open: None,
    ) -> None:
        self.firm_s = firm_s
        self._random = random
        self._quick = _Gate("quick", judged_after=quick_s / 2, patience=quick_s)
        self._firm = _Gate("firm", judged_after=max(firm_s, quick_s / 2), patience=firm_s)
        self._gates = (self._quick, self._firm)
        self._changed = changed
        self._probe_began: float | None = None
        self._next_probe_at: float | None = None
        self._delay = FIRST_S
        self._last_failure = float("-inf")

    @classmethod
    def of(cls, settings: Settings, random: Callable[[], float], changed: Changed) -> "Breaker":
        """The breaker of one endpoint under these settings; a server is firm for as long as any firm feature is."""
        patient = (settings.sessions, settings.locks, settings.idempotency)
        firm_s = max((seconds(part.patience) for part in patient if part is not None), default=1.0)
        return cls(random, quick_s=seconds(settings.patience), firm_s=firm_s, changed=changed)

    def tried(self, waited: float) -> Class | None:
        """Whose patience was used up by waiting so many seconds in vain; None: a deadline cut it short, no failure."""
        if waited >= self._firm.patience * ROUNDING:
            return "firm"
        return "quick" if waited >= self._quick.patience * ROUNDING else None

    def refuses(self, quick: bool, now: float) -> float | None:
        """Seconds after which asking again may help if this class is open, else None."""
        gate = self._quick if quick else self._firm
        if not gate.open:
            return None
        return max(self._quick.judged_after, (self._next_probe_at or now) - now)

    def answered(self, began: float, now: float) -> None:
        """A turn that was sent at ``began`` has been answered now."""
        for gate in self._gates:
            if now - began <= gate.patience:
                _ = gate.count(now, failed=False)
            if gate.suspect and self._probe_began is not None and began >= self._probe_began:
                gate.suspect = now - began > gate.judged_after

    def failed(self, began: float, now: float, *, quick: bool) -> bool:
        """A turn sent at ``began`` had no reply in time, or its wire was lost; True: start a probe now.

        ``quick`` says that only the patience of the quick class was used up; a lost wire counts for both.
        """
        counts = began >= self._last_failure
        if counts:
            self._last_failure = now
        for gate in self._gates:
            gate.suspect = gate.suspect or not gate.open
            if counts and (gate is self._quick or not quick) and gate.count(now, failed=True):
                self._open(gate, now)
        probe = self._probe_began is None and any(gate.suspect for gate in self._gates)
        if probe:
            self.probe_began(now)
        return probe

    def next_probe_at(self) -> float | None:
        """When the driver is to begin the next background probe; None: not open, or a probe is under way."""
        return self._next_probe_at if self._probe_began is None else None

    def wants_probing(self) -> bool:
        """A probe is under way, or the endpoint is given up and one will be due."""
        return self._probe_began is not None or self._next_probe_at is not None

    def probe_began(self, now: float) -> None:
        """A probe leaves now; ``failed`` has noted this already for the one it asks for."""
        self._probe_began = now

    def judge_at(self) -> float | None:
        """When a probe under way that has no answer yet is to be judged next; None: no probe, or nothing to judge."""
        if self._probe_began is None:
            return None
        due = [gate.judged_after for gate in self._gates if gate.suspect]
        return self._probe_began + (min(due) if due else self._firm.judged_after)

    def probe_unanswered(self, now: float) -> bool:
        """Judge the probe under way; False: it is over. What has arrived must have been read before this."""
        if self._probe_began is None:
            return False
        # Compared as ``judge_at`` adds it up: a difference may round to less, and nothing would ever be judged.
        for gate in self._gates:
            if gate.suspect and now >= self._probe_began + gate.judged_after:
                self._open(gate, now)
        if now >= self._probe_began + self._firm.judged_after:
            self._probe_over(now)
            return False
        return True

    def probe_answered(self, now: float) -> None:
        """The probe has its answer: each class closes, if it came in time for that class."""
        if self._probe_began is None:
            return
        waited = now - self._probe_began
        for gate in self._gates:
            if waited <= gate.judged_after:
                self._close(gate)
            elif gate.suspect:
                self._open(gate, now)
        self._probe_over(now)

    def probe_lost(self, now: float) -> None:
        """The probe found nobody (refused, reset, wrong password): what is suspect opens at once."""
        if self._probe_began is None:
            return
        for gate in self._gates:
            if gate.suspect:
                self._open(gate, now)
        self._probe_over(now)

    def _open(self, gate: "_Gate", now: float) -> None:
        gate.suspect = False
        if gate.open:
            return
        gate.open = True
        if self._next_probe_at is None:
            self._next_probe_at = now + self._jittered()
        self._changed(gate.name, True)

    def _close(self, gate: "_Gate") -> None:
        gate.suspect = False
        gate.forget()
        if gate.open:
            gate.open = False
            self._changed(gate.name, False)

    def _probe_over(self, now: float) -> None:
        """Settle when to probe again: never while closed, else later each time."""
        self._probe_began = None
        for gate in self._gates:
            gate.suspect = False
        if not any(gate.open for gate in self._gates):
            self._delay, self._next_probe_at = FIRST_S, None
            return
        if self._next_probe_at is None or self._next_probe_at <= now:
            self._delay = min(self._delay * 2, LONGEST_S)
            self._next_probe_at = now + self._jittered()

    def _jittered(self) -> float:
        return self._delay * (1 - JITTER * self._random())


class _Gate:
    """One class: open or not, under suspicion or not, and its latest outcomes since a failure."""

    def __init__(self, name: Class, *, judged_after: float, patience: float) -> None:
        self.name: Class = name
        self.judged_after = judged_after
        self.patience = patience
        self.open = False
        self.suspect = False
        self._row = 0
        self._outcomes: deque[tuple[float, bool]] = deque(maxlen=WINDOW)

    def count(self, now: float, *, failed: bool) -> bool:
        """Note one outcome; True: that was too many failures. Costs nothing while none was seen lately."""
        if not failed and not self._outcomes:
            return False
        self._row = self._row + 1 if failed else 0
        self._outcomes.append((now, failed))
        recent = [bad for at, bad in self._outcomes if now - at <= WINDOW_S]
        if not any(recent):
            self.forget()
        return self._row >= ROW or (len(recent) == WINDOW and sum(recent) * 2 >= WINDOW)

    def forget(self) -> None:
        self._row = 0
        self._outcomes.clear()
