"""Draw lines over two logarithmic axes as an SVG that can be read on light and on dark. No I/O."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 760, 380
LEFT, RIGHT, TOP, BOTTOM = 56, 230, 20, 48
COLOURS = ("#d9480f", "#1c7ed6", "#2f9e44", "#ae3ec9")
"""Each has contrast enough with white and with a dark page."""
DASHES = ("", "6 3", "2 3", "8 3 2 3")
GREY = "#868e96"


@dataclass(frozen=True, slots=True)
class Line:
    """A name and a value for each place of the x axis."""

    name: str
    values: Sequence[float]


def draw(lines: Sequence[Line], *, x: Sequence[float], title: str) -> str:
    """Return the SVG of `lines` over the places `x`, which has the name `title`."""
    assert all(len(line.values) == len(x) for line in lines)
    values = [value for line in lines for value in line.values if value > 0]
    low, high = _decades(min(values), max(values))
    across = _scale(min(x), max(x), LEFT, WIDTH - RIGHT)
    up = _scale(low, high, HEIGHT - BOTTOM, TOP)
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" font-family="sans-serif" font-size="12">',
        f"<title>{escape(', '.join(line.name for line in lines))} over {escape(title)}</title>",
    ]
    for power in range(round(math.log10(low)), round(math.log10(high)) + 1):
        y = up(10.0**power)
        ends = f'x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}"'
        parts.append(f'<line {ends} stroke="{GREY}" stroke-opacity="0.35"/>')
        parts.append(_text(LEFT - 8, y + 4, f"{10.0**power:g}", "end"))
    parts += [_text(across(place), HEIGHT - BOTTOM + 20, f"{place:g}", "middle") for place in x]
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, title, "middle"))
    for number, line in enumerate(lines):
        colour, dash = COLOURS[number % len(COLOURS)], DASHES[number % len(DASHES)]
        dots = [(across(place), up(max(value, low))) for place, value in zip(x, line.values, strict=True)]
        points = " ".join(f"{left:.1f},{top:.1f}" for left, top in dots)
        pen = f'stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"'
        parts.append(f'<polyline points="{points}" fill="none" {pen}/>')
        parts += [f'<circle cx="{left:.1f}" cy="{top:.1f}" r="3" fill="{colour}"/>' for left, top in dots]
        y = TOP + 16 + 22 * number
        ends = f'x1="{WIDTH - RIGHT + 16}" y1="{y - 4}" x2="{WIDTH - RIGHT + 44}" y2="{y - 4}"'
        parts.append(f"<line {ends} {pen}/>")
        parts.append(_text(WIDTH - RIGHT + 50, y, line.name, "start", colour))
    return "\n".join((*parts, "</svg>")) + "\n"


def _decades(least: float, most: float) -> tuple[float, float]:
    low, high = math.floor(math.log10(least)), math.ceil(math.log10(most))
    return 10.0**low, 10.0 ** max(high, low + 1)


def _scale(low: float, high: float, begin: float, end: float) -> _Scale:
    return _Scale(math.log10(low), max(math.log10(high) - math.log10(low), 1e-9), begin, end)


@dataclass(frozen=True, slots=True)
class _Scale:
    low: float
    span: float
    begin: float
    end: float

    def __call__(self, value: float) -> float:
        return self.begin + (math.log10(value) - self.low) / self.span * (self.end - self.begin)


def _text(left: float, top: float, text: str, anchor: str, colour: str = GREY) -> str:
    return f'<text x="{left:.1f}" y="{top:.1f}" fill="{colour}" text-anchor="{anchor}">{escape(text)}</text>'
