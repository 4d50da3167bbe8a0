"""The table of a run, for people and for programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .figures import Result

HOW_TO_READ = """\
Each row was measured beside its limit in turns, one after the other; shown is the middle of the
turns (of memory: the highest), and the ratio of the two. Only ratios can be compared, and only
among runs on one machine; in brackets stands the least and the greatest of a single turn."""


def in_markdown(machine: dict[str, str], results: list[Result], plots: list[str]) -> str:
    parts = [
        "# Speed, beside its limits",
        "\n".join(f"- {name}: {value}" for name, value in machine.items()),
        "\n".join(table(results)),
        HOW_TO_READ,
        missed(results),
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


def missed(results: list[Result]) -> str:
    """What did not reach its goal, with its figures; then what could not be measured."""
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
    told = {"machine": machine, "options": options, "rows": [row.as_json() for row in results]}
    path.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
