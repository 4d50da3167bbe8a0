"""The table of a run, as Markdown and JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .figures import Figure, Result

HOW_TO_READ = """\
Each row alternated three times between the service and its limit, and began when the service had
nothing else to do. Shown are the medians of the turns (for memory the maximum) of both and of their
ratio; brackets contain the lowest and the highest of a single turn. Only ratios can be compared, and
only among runs on one machine. "Others" is the share of statements that do not belong to the row, in
the time that the database executed statements, or in that of a core where that is shorter or the row
uses the database little; of all turns the highest. A row with more than 2 % is invalid, except where other work is its
subject."""


def in_markdown(machine: dict[str, str], results: list[Result], plots: list[str]) -> str:
    parts = [
        "# Speed compared with its limits",
        "\n".join(f"- {name}: {value}" for name, value in machine.items()),
        "\n".join(table(results)),
        HOW_TO_READ,
        missed_goals(results),
        "\n".join(f"![{name.removesuffix('.svg')}]({name})" for name in plots),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def table(results: list[Result]) -> list[str]:
    lines = [
        "| row | what | against | limit | ours | ratio | others | goal | |",
        "|---|---|---|--:|--:|--:|--:|---|---|",
    ]
    for result in results:
        start = f"| {result.name} | {result.title} | {result.against}"
        if result.error:
            lines.append(f"{start} | | | | | | {result.verdict}: {one_line(result.error)} |")
            continue
        turns = result.turn_ratios
        cells = [
            start,
            with_spread(result.limits, result.limit, result.unit),
            with_spread(result.ours, result.own, result.unit),
            f"{result.ratio:.2f} ({min(turns):.2f} to {max(turns):.2f})",
            f"{max(other.share for other in result.others):.1%}" if result.others else "",
            str(result.goal or ""),
            result.verdict,
        ]
        lines.append(f"{' | '.join(cells)} |")
    return lines


def with_spread(turns: list[Figure], value: float, unit: str) -> str:
    low, high = (edge(figure.value for figure in turns) for edge in (min, max))
    spread = "" if low == high else f" ({number(low)} to {number(high)})"
    return f"{amount(value, unit)}{spread}"


def number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.1f}"


def amount(value: float, unit: str) -> str:
    return f"{number(value)} {unit}"


def one_line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def missed_goals(results: list[Result]) -> str:
    """Lists the missed goals with their figures, and the rows that could not be measured or are
    invalid."""
    lines = []
    for result in results:
        if result.error:
            lines.append(f"- {result.name} FAILED: {one_line(result.error)}")
        elif not result.is_valid:
            worst = max(result.others, key=lambda other: other.share * other.is_enforced)
            lines.append(f"- {result.name} INVALID: {one_line(worst.describe())}")
        elif result.is_met is False:
            own, limit = amount(result.own, result.unit), amount(result.limit, result.unit)
            lines.append(
                f"- {result.name} missed {result.goal}: {own} against {limit}, {result.ratio:.2f} x"
            )
    return "\n".join(["Not reached:", "", *lines]) if lines else "All goals are reached."


def write_json(
    path: Path, machine: dict[str, str], options: dict[str, Any], results: list[Result]
) -> None:
    fields = {"machine": machine, "options": options, "rows": [row.as_json() for row in results]}
    path.write_text(json.dumps(fields, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
