"""Plots of a run, as SVG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure as Canvas

from .figures import Figure, Result

# Keeps text as text, and makes files reproducible.
mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "contact", "font.size": 9})
COLORS = {"ok": "#2a7f4f", "missed": "#c0392b", "for information": "#7f8c8d", "INVALID": "#b58900"}
PERCENTILES = {
    "p50_us": "p50",
    "p90_us": "p90",
    "p99_us": "p99",
    "p999_us": "p99.9",
    "max_us": "max",
}


def write(folder: Path, prefix: str, results: list[Result]) -> list[str]:
    """Writes the plots for which there are figures, and returns their file names."""
    measured = [result for result in results if not result.error]
    names = []
    for kind, plot in {"ratios": ratios, "memory": memory, "latency": latency}.items():
        canvas = plot(measured)
        if canvas:
            names.append(f"{prefix}-{kind}.svg")
            canvas.savefig(folder / names[-1], metadata={"Date": None}, bbox_inches="tight")
    return names


def ratios(results: list[Result]) -> Canvas | None:
    """Plots the reached share of each row's goal: beyond the line is good, in either direction."""
    rows = [result for result in results if result.goal]
    if not rows:
        return None
    canvas = Canvas(figsize=(8, 0.9 + 0.36 * len(rows)))
    axes = canvas.subplots()
    shares = [row.goal.share(row.ratio) for row in rows if row.goal]
    bars = axes.barh(
        [row.name for row in rows],
        [min(share, 3) for share in shares],
        color=[COLORS[row.verdict] for row in rows],
    )
    axes.bar_label(bars, [f" {row.ratio:.2f} x, goal {row.goal}" for row in rows], padding=2)
    axes.axvline(1, color="black", linewidth=1, zorder=0)
    axes.set(xlim=(0, 4), xlabel="share of the goal; 1: reached; longer bars end at 3")
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    return canvas


def memory(results: list[Result]) -> Canvas | None:
    """Plots the memory of the service over time, in every turn."""
    rows = [result for result in results if result.name == "memory"]
    if not rows:
        return None
    canvas = Canvas(figsize=(8, 3.2))
    axes = canvas.subplots()
    for turn, figure in enumerate(rows[0].ours, start=1):
        samples = figure.raw["samples"]
        times = [sample["seconds"] for sample in samples]
        axes.plot(times, [s["resident_mib"] for s in samples], label=f"turn {turn}")
    goal = rows[0].limits[0].value
    axes.axhline(goal, color=COLORS["missed"], linewidth=1, linestyle="--", label="goal")
    axes.set(ylim=(0, None), xlabel="seconds of the stream", ylabel="resident memory, MiB")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return canvas


def latency(results: list[Result]) -> Canvas | None:
    """Plots the latencies of every row of unary RPCs: the median of the turns."""
    curves = {result.name: percentiles(result.ours) for result in results}
    for result in results:
        if result.name.startswith("flood"):
            curves[f"{result.name}: without"] = percentiles(result.limits)
    curves = {name: curve for name, curve in curves.items() if curve}
    if not curves:
        return None
    canvas = Canvas(figsize=(8, 4.5))
    axes = canvas.subplots()
    for place, (name, curve) in enumerate(curves.items()):
        marker = "os^Dvp*X"[place % 8]
        axes.plot(list(PERCENTILES.values()), curve, marker=marker, label=name, linewidth=1)
    axes.set(yscale="log", ylabel="µs", xlabel="percentile of our requests")
    axes.grid(axis="y", which="both", linewidth=0.3)
    axes.legend(frameon=False, bbox_to_anchor=(1, 1), loc="upper left")
    axes.spines[["top", "right"]].set_visible(False)
    return canvas


def percentiles(figures: list[Figure]) -> list[float]:
    turns: list[dict[str, Any]] = [figure.raw for figure in figures]
    if not all(PERCENTILES.keys() <= raw.keys() for raw in turns):
        return []
    middle = len(turns) // 2
    return [sorted(raw[key] for raw in turns)[middle] for key in PERCENTILES]
