# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""A bar chart of what was measured, as SVG."""

from html import escape
from pathlib import Path

LEFT, BARS, RIGHT = 230, 520, 150  # widths
BAR, GAP, TOP = 15, 12, 70         # heights
COLOURS = {"rota": "#1f77b4", "macswap": "#c7c7c7"}


def _text(x, y, words, more=""):
    return f'<text x="{x:.0f}" y="{y:.0f}" {more}>{escape(words)}</text>'


def _bar(y, width, colour):
    return (f'<rect x="{LEFT}" y="{y}" width="{max(width, 1):.1f}" height="{BAR}" '
            f'fill="{colour}"/>')


def _group(result, y, scale):
    """A case: both rates below each other, what balancing adds on the right."""
    rota, macswap = result["rota_mpps"], result["macswap_mpps"]
    return [
        _text(LEFT - 8, y + BAR + 4, result["name"], 'text-anchor="end"'),
        _bar(y, rota * scale, COLOURS["rota"]),
        _text(LEFT + rota * scale + 5, y + BAR - 3,
              f"{rota:.1f}  (+{result['added_cycles']:.0f} cycles)", 'font-weight="bold"'),
        _bar(y + BAR, macswap * scale, COLOURS["macswap"]),
        _text(LEFT + macswap * scale + 5, y + 2 * BAR - 3, f"{macswap:.1f}", 'fill="#666"'),
    ]


def write_plot(path, results):
    """Draws Rota beside macswap, a pair of bars a case."""
    scale = BARS / max(max(result["rota_mpps"], result["macswap_mpps"]) for result in results)
    step = 2 * BAR + GAP
    width, height = LEFT + BARS + RIGHT, TOP + step * len(results)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        _text(LEFT, 22, "Millions of packets a second, one core", 'font-size="15"'),
        f'<rect x="{LEFT}" y="36" width="12" height="12" fill="{COLOURS["rota"]}"/>',
        _text(LEFT + 18, 47, "rota-dataplane (cycles a packet beyond macswap)"),
        f'<rect x="{LEFT + 350}" y="36" width="12" height="12" fill="{COLOURS["macswap"]}"/>',
        _text(LEFT + 368, 47, "dpdk-testpmd macswap"),
    ]
    for index, result in enumerate(results):
        parts += _group(result, TOP + index * step, scale)
    Path(path).write_text("\n".join([*parts, "</svg>\n"]), encoding="utf-8")
