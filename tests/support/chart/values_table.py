"""The table of values in helm/README.md, from the comments in helm/values.yaml.

Run in tests/: `python -m support.chart.values_table` rewrites it.
"""

from __future__ import annotations

import json
import re
from typing import Any, Iterator

from .manifests import CHART, default_values

BEGIN, END = "<!-- values -->\n", "<!-- end of values -->\n"
README = CHART / "README.md"
_KEY = re.compile(r"^( *)([A-Za-z0-9_]+):")
_COMMENT = re.compile(r"^ *# -- (.*)$")


def descriptions() -> dict[str, str]:
    """Returns the comments above the keys, by path."""
    found: dict[str, str] = {}
    path: list[str] = []
    comment = ""
    for line in (CHART / "values.yaml").read_text().splitlines():
        if match := _COMMENT.match(line):
            comment = match[1]
        elif match := _KEY.match(line):
            path[len(match[1]) // 2 :] = [match[2]]
            if comment:
                found[".".join(path)] = comment
            comment = ""
    return found


def rows() -> Iterator[tuple[str, Any, str]]:
    """Returns path, default and description of every value."""
    described = descriptions()

    def walk(path: str, value: Any) -> Iterator[tuple[str, Any, str]]:
        if path in described:
            yield path, value, described[path]
        else:
            assert isinstance(value, dict) and value, f"{path} has no description"
            for name, inner in value.items():
                yield from walk(f"{path}.{name}", inner)

    for name, value in default_values().items():
        yield from walk(name, value)


def table() -> str:
    lines = ["| value | default | |", "|---|---|---|"]
    for path, value, description in rows():
        default = json.dumps(value, ensure_ascii=False)
        lines.append(f"| `{path}` | `{default}` | {description} |")
    return "\n".join(lines) + "\n"


def table_in_readme() -> str:
    return README.read_text().partition(BEGIN)[2].partition(END)[0]


def write() -> None:
    before, _, rest = README.read_text().partition(BEGIN)
    README.write_text(before + BEGIN + table() + END + rest.partition(END)[2])


if __name__ == "__main__":
    write()
