"""A table of figures, as plain text or as Markdown."""

from collections.abc import Sequence


def render(headings: Sequence[str], rows: Sequence[Sequence[str]], *, markdown: bool) -> str:
    """The first column stands to the left, figures to the right. A heading may have several lines, parted by ``|``."""
    if markdown:
        titles = [heading.replace("|", " ") for heading in headings]
        lines = [titles, ["---", *["---:"] * (len(titles) - 1)], *rows]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)
    stacked = [heading.split("|") for heading in headings]
    height = max(map(len, stacked))
    # Short headings stand on the last line, next to their figures.
    titled = [list(line) for line in zip(*([""] * (height - len(each)) + each for each in stacked), strict=True)]
    widths = [max(map(len, column)) for column in zip(*titled, *rows, strict=True)]
    lines = [*titled, ["-" * width for width in widths], *rows]
    return "\n".join(_aligned(line, widths) for line in lines)


def _aligned(line: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = [
        cell.rjust(width) if place else cell.ljust(width)
        for place, (cell, width) in enumerate(zip(line, widths, strict=True))
    ]
    return "  ".join([first, *others]).rstrip()
