"""The table as a picture: one bar per ratio with a goal, as a share of that goal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from tests.bench.measuring import Figure

__all__ = ["draw"]

_ROW, _LEFT, _BAR, _WIDTH = 26, 430, 300, 860
_FONT = 'font-family="sans-serif" font-size="12"'
_TITLE = "Measured side by side in one run; the dashed line is the goal"
_COLOURS = {True: "#2f7d4f", False: "#b5472f"}


def draw(found: Mapping[str, Sequence[Figure]]) -> str:
    """An SVG that needs nothing but a viewer; the line is the goal, left of it (right, for rates) is good."""
    rows = [(runtime, figure) for runtime, figures in found.items() for figure in figures if figure.goal]
    height = 60 + _ROW * len(rows)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" {_FONT}>',
        f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="16" y="26" font-size="15">{_TITLE}</text>',
    ]
    for place, (runtime, figure) in enumerate(rows):
        top = 44 + place * _ROW
        share = min(figure.value / (figure.goal or 1), 2)
        label = figure.name if len(found) == 1 else f"{runtime}: {figure.name}"
        value = f"{figure.value:.2f} {figure.unit} ({'≤' if figure.at_most else '≥'} {figure.goal:g})"
        parts += [
            f'<text x="{_LEFT - 8}" y="{top + 14}" text-anchor="end">{escape(label)}</text>',
            _bar(_LEFT, top + 2, share * _BAR / 2, _COLOURS[bool(figure.met)]),
            f'<text x="{_LEFT + _BAR + 8}" y="{top + 14}">{escape(value)}</text>',
        ]
    middle = _LEFT + _BAR / 2
    parts += [
        f'<path d="M{middle} 40V{height - 14}" stroke="#222" stroke-dasharray="3 3"/>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _bar(left: float, top: float, width: float, colour: str) -> str:
    size = f'width="{width:.1f}" height="{_ROW - 10}"'
    return f'<rect x="{left}" y="{top}" {size} rx="2" fill="{colour}"/>'
