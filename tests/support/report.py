"""Tables of counts and measurements, printed after all tests."""

from __future__ import annotations

from collections.abc import Iterator

_rows: dict[str, list[dict[str, object]]] = {}


def add(title: str, **values: object) -> None:
    """Adds a row to a table; the names of the values are its columns."""
    _rows.setdefault(title, []).append(values)


def rows() -> dict[str, list[dict[str, str]]]:
    """Returns the rows of each table as texts, which another process may add."""
    return {
        title: [{column: str(value) for column, value in row.items()} for row in rows]
        for title, rows in _rows.items()
    }


def add_rows(tables: dict[str, list[dict[str, str]]]) -> None:
    for title, rows in tables.items():
        for row in rows:
            add(title, **row)


def tables() -> Iterator[tuple[str, list[str]]]:
    for title, rows in _rows.items():
        columns = list(rows[0])
        cells = [columns] + [[str(row.get(column, "")) for column in columns] for row in rows]
        widths = [max(len(line[n]) for line in cells) for n in range(len(columns))]
        yield (
            title,
            [
                "  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip()
                for line in cells
            ],
        )
