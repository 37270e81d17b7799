"""Times to be compared: taken in turn, round after round, so that what the machine does meanwhile meets all alike."""

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from time import perf_counter_ns


def interleaved(actions: Mapping[str, Callable[[int], object]], times: int) -> dict[str, float]:
    """The median time of each action in nanoseconds; every action is done once in each of so many turns."""
    taken: dict[str, list[int]] = {name: [] for name in actions}
    for turn in range(times):
        for name, action in actions.items():
            begin = perf_counter_ns()
            action(turn)
            taken[name].append(perf_counter_ns() - begin)
    return {name: median(each) for name, each in taken.items()}


def over_rounds(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The median over the rounds, figure by figure."""
    return {name: median(each[name] for each in rounds) for name in rounds[0]}
