"""A plot of the latencies of a replay that follows the colours of the page around it."""

from __future__ import annotations

import io
import re
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

_INK = "#010203"  # replaced by the page's text colour
_DOTS = "#2f7de1"


def latency_plot(milliseconds: Sequence[float | None], unanswered: Collection[int] = ()) -> str:
    """One SVG element: every frame's latency along the drive, and beside it how often each latency occurs.

    Args:
        milliseconds: one a frame in the order sent, None where there is none.
        unanswered: places of the frames that got no answer.
    """
    from matplotlib.figure import Figure  # slow to import, and only reports need it

    frames = [number for number, value in enumerate(milliseconds) if value is not None]
    values = [value for value in milliseconds if value is not None]
    figure = Figure(figsize=(10, 2.9), layout="constrained")
    drive, histogram = figure.subplots(1, 2, sharey=True, gridspec_kw={"width_ratios": [4, 1]})
    drive.plot(frames, values, ".", markersize=4, color=_DOTS, alpha=0.75)
    for number in unanswered:
        drive.axvline(number, color="#d33f49", linewidth=0.8, alpha=0.6)
    drive.set_xlabel("frame, in the order sent" + (" (red: no answer)" if unanswered else ""))
    drive.set_ylabel("latency, ms")
    drive.set_xlim(-0.5, max(len(milliseconds) - 0.5, 0.5))
    drive.set_ylim(0, max(values, default=1.0) * 1.08)
    if values:
        bins = np.linspace(0, max(values) * 1.0001, 41).tolist()
        histogram.hist(values, bins=bins, orientation="horizontal", color=_DOTS, alpha=0.75)
        for share, name in ((50, "p50"), (99, "p99")):
            level = float(np.percentile(values, share))
            for axes in (drive, histogram):
                axes.axhline(level, color=_INK, linewidth=0.7, linestyle=(0, (4, 3)), alpha=0.6)
            histogram.annotate(
                f"{name} {level:.1f}",
                (1.0, level),
                (0, 2),
                xycoords=("axes fraction", "data"),
                textcoords="offset points",
                ha="right",
                va="bottom",
                color=_INK,
                fontsize=8,
            )
    histogram.set_xlabel("frames")
    for axes in (drive, histogram):
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(_INK)
        axes.tick_params(colors=_INK, labelsize=8)
        axes.xaxis.label.set_color(_INK)
        axes.yaxis.label.set_color(_INK)
        axes.patch.set_alpha(0)
        axes.xaxis.get_major_locator().set_params(integer=True)
    return _inline(figure)


def _inline(figure: Any) -> str:
    """The figure as an SVG element whose ink is the text colour of the page around it."""
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "mayhem"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = re.sub("<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    return svg.replace(_INK, "currentColor")
