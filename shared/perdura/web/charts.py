"""Charts as SVG, made here: no script, no inline style, readable by people who cannot see them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

WIDTH, HEIGHT = 640, 180
_LEFT, _BOTTOM, _TOP = 64, 24, 8
ROW, LABEL, VALUE = 26, 190, 110


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: its label, its value, and optionally a second value stacked on it."""

    label: str
    value: float
    second: float = 0.0


def nice_top(highest: float) -> float:
    """The smallest of 1, 2, 2.5, 5 times a power of ten that is not below `highest`."""
    if highest <= 0:
        return 1.0
    power = 1.0
    while power * 10 <= highest:
        power *= 10
    while power > highest:
        power /= 10
    return next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= highest)


def columns(title: str, bars: Sequence[Bar], words: Callable[[float], str]) -> Markup:
    """Upright bars over time; the first, middle and last label are shown, all in the title of their bar."""
    top = nice_top(max((bar.value + bar.second for bar in bars), default=0))
    inner, height = WIDTH - _LEFT, HEIGHT - _BOTTOM - _TOP
    step = inner / max(1, len(bars))
    parts = [_opening(title, _sentence(title, bars, words), WIDTH, HEIGHT)]
    for share in (0.0, 0.5, 1.0):
        y = _TOP + height * (1 - share)
        parts.append(Markup('<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>').format(_LEFT, WIDTH, y, y))
        parts.append(
            Markup('<text class="axis" x="{}" y="{:.1f}" text-anchor="end">{}</text>').format(
                _LEFT - 6, y + 4, words(top * share)
            )
        )
    for number, bar in enumerate(bars):
        x, wide = _LEFT + number * step, max(1.0, step * 0.8)
        first = height * bar.value / top
        second = height * bar.second / top
        parts.append(
            Markup('<g><title>{}: {}{}</title><rect class="bar" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>')
            .format(
                bar.label, words(bar.value), Markup(", {}").format(words(bar.second)) if bar.second else "",
                x, _TOP + height - first, wide, first,
            )
        )  # fmt: skip
        if bar.second:
            parts.append(
                Markup('<rect class="bar second" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
                    x, _TOP + height - first - second, wide, second
                )
            )
        parts.append(Markup("</g>"))
    for number, anchor in ((0, "start"), (len(bars) // 2, "middle"), (len(bars) - 1, "end")):
        if 0 <= number < len(bars):
            x = _LEFT + (number + (0.0 if anchor == "start" else 0.5 if anchor == "middle" else 1.0)) * step
            parts.append(
                Markup('<text class="axis" x="{:.1f}" y="{}" text-anchor="{}">{}</text>').format(
                    x, HEIGHT - 6, anchor, bars[number].label
                )
            )
    return Markup("").join([*parts, Markup("</svg>")])


def rows(title: str, bars: Sequence[Bar], words: Callable[[float], str]) -> Markup:
    """Lying bars, each with its label before and its value behind."""
    highest = max((bar.value for bar in bars), default=0) or 1
    inner = WIDTH - LABEL - VALUE
    parts = [_opening(title, _sentence(title, bars, words), WIDTH, max(ROW, ROW * len(bars)))]
    for number, bar in enumerate(bars):
        y, wide = number * ROW, max(1.0, inner * bar.value / highest)
        parts.append(
            Markup(
                '<g><title>{}: {}</title><text class="label" x="{}" y="{}" text-anchor="end">{}</text>'
                '<rect class="bar" x="{}" y="{}" width="{:.1f}" height="{}"/>'
                '<text class="value" x="{:.1f}" y="{}">{}</text></g>'
            ).format(
                bar.label, words(bar.value), LABEL - 8, y + 17, _cut(bar.label),
                LABEL, y + 4, wide, ROW - 8, LABEL + wide + 6, y + 17, words(bar.value),
            )
        )  # fmt: skip
    return Markup("").join([*parts, Markup("</svg>")])


def _opening(title: str, sentence: str, width: int, height: int) -> Markup:
    return Markup(
        '<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}" focusable="false"><desc>{}</desc>'
    ).format(width, height, title, sentence)


def _sentence(title: str, bars: Sequence[Bar], words: Callable[[float], str]) -> str:
    if not bars:
        return f"{title}: nothing."
    highest = max(bars, key=lambda bar: bar.value)
    return f"{title}: {len(bars)} values, the highest {words(highest.value)} ({highest.label})."


def _cut(label: str) -> str:
    return label if len(label) <= 26 else f"{label[:25]}…"
