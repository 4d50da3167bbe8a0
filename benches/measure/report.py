"""The table of a run, as Markdown and JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .figures import Result

HOW_TO_READ = """\
Each row alternated between the service and its limit. Shown are the medians of the turns (for memory
the maximum) and their ratio. Only ratios can be compared, and only among runs on one machine;
brackets contain the lowest and the highest ratio of a single turn."""


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
        "| row | what | against | limit | ours | ratio | goal | |",
        "|---|---|---|--:|--:|--:|---|---|",
    ]
    for result in results:
        start = f"| {result.name} | {result.title} | {result.against}"
        if result.error:
            lines.append(f"{start} | | | | | {result.verdict}: {one_line(result.error)} |")
            continue
        turns = result.turn_ratios
        spread = f"{result.ratio:.2f} ({min(turns):.2f} to {max(turns):.2f})"
        figures = f"{amount(result.limit, result.unit)} | {amount(result.own, result.unit)}"
        goal = str(result.goal or "")
        lines.append(f"{start} | {figures} | {spread} | {goal} | {result.verdict} |")
    return lines


def amount(value: float, unit: str) -> str:
    return f"{value:,.0f} {unit}" if abs(value) >= 100 else f"{value:,.1f} {unit}"


def one_line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def missed_goals(results: list[Result]) -> str:
    """Lists the missed goals with their figures, then the rows that could not be measured."""
    lines = []
    for result in results:
        if result.error:
            lines.append(f"- {result.name} FAILED: {one_line(result.error)}")
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
