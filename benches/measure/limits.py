"""What the service is held against: pgbench, COPY, and the reference program of argon2."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from .databases import psql
from .figures import Figure, RowFailed
from .processes import environment, last_lines, run

SQL = Path(__file__).resolve().parent.parent / "sql"
# Few, as every connection prepares each of them, and many beside the one that fetches.
STATEMENTS_A_ROUND = 12
DRAWN = 500_000
DRAW = re.compile(r"^-- draw ([\w, ]+): (.+)$", re.MULTILINE)
STATEMENT_END = re.compile(r";[ ]*$|\\gset[ ]*$", re.MULTILINE)
PROGRESS = re.compile(r"^progress: [\d.]+ s, ([\d.]+) tps", re.MULTILINE)
ARGON2 = ["argon2", "saltsaltsaltsalt", "-id", "-t", "3", "-k", "65536", "-p", "1", "-r"]


@dataclass(frozen=True)
class Script:
    """A file of benches/sql: the statements of one call, as a script of pgbench.

    pgbench draws numbers, but no ids. Where a script says what ids it draws, they are drawn into a
    table beforehand, in groups: a round fetches a group, and runs the statements for each of it.
    """

    name: str
    body: str
    columns: list[str]
    draw: str

    @classmethod
    def read(cls, name: str) -> Script:
        text = (SQL / f"{name}.sql").read_text()
        found = DRAW.search(text)
        columns, draw = (found.group(1).split(", "), found.group(2)) if found else ([], "")
        body = "".join(line for line in text.splitlines(True) if not line.startswith("--"))
        return cls(name, body, columns, draw)

    @property
    def table(self) -> str:
        return f"bench.{self.name}"

    @property
    def statements(self) -> int:
        return len(STATEMENT_END.findall(self.body))

    @property
    def group(self) -> int:
        return max(1, STATEMENTS_A_ROUND // self.statements)

    @property
    def calls_a_round(self) -> float:
        """Fetching a group counts like one of the statements: it reads by a key as they do."""
        return self.group + 1 / self.statements if self.draw else 1

    def prepare(self, folder: Path, url: str) -> str:
        """Draws what is to be drawn, unless that was done before, and gives pgbench's script."""
        if not self.draw:
            return self.body
        if not psql(folder, url, f"SELECT to_regclass('{self.table}')"):
            self._fill(folder, url)
        groups = int(psql(folder, url, f"SELECT count(*) FROM {self.table}"))
        if groups == 0:
            raise RowFailed(f"{self.name}.sql: there is too little to draw from")
        places = range(1, self.group + 1)
        fetched = ", ".join(f"{c}[{n}] AS {c}_{n}" for n in places for c in self.columns)
        variables = re.compile(rf"(?<!:):({'|'.join(self.columns)})\b")
        return "\n".join(
            [
                f"\\set slot random(0, {groups - 1})",
                f"SELECT {fetched} FROM {self.table} WHERE slot = :slot \\gset",
                *(variables.sub(rf":\1_{n}", self.body) for n in places),
            ]
        )

    def _fill(self, folder: Path, url: str) -> None:
        columns = ", ".join(self.columns)
        arrays = ", ".join(f"array_agg({column}) AS {column}" for column in self.columns)
        psql(
            folder,
            url,
            "SELECT setseed(0.5)",
            "CREATE SCHEMA IF NOT EXISTS bench",
            f"""CREATE TABLE {self.table} AS
            WITH drawn ({columns}) AS ({self.draw} ORDER BY random() LIMIT {DRAWN}),
            numbered AS (SELECT (row_number() OVER () - 1) / {self.group} AS slot, * FROM drawn)
            SELECT slot, {arrays} FROM numbered GROUP BY slot HAVING count(*) = {self.group}""",
            f"ALTER TABLE {self.table} ADD PRIMARY KEY (slot)",
            f"VACUUM (ANALYZE) {self.table}",
        )


def pgbench(
    folder: Path, url: str, name: str, customers: int, clients: int, seconds: int
) -> Figure:
    """How many calls a second PostgreSQL answers to clients that each make one at a time."""
    script = Script.read(name)
    file = folder / f"{name}.pgbench"
    file.write_text(script.prepare(folder, url))
    threads = min(clients, os.cpu_count() or 1)
    arguments = ["pgbench", "-n", "-M", "prepared", f"-Dcustomers={customers}", f"-f{file}"]
    arguments += [f"-c{clients}", f"-j{threads}"]
    # The first second is for connecting and preparing, the last one for ending.
    ended = subprocess.run(
        [*arguments, f"-T{seconds + 2}", "-P1", url],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=seconds + 120,
        check=False,
    )
    if ended.returncode != 0:
        raise RowFailed(f"pgbench {name} ended with {ended.returncode}: {last_lines(ended.stderr)}")
    rounds = [float(tps) for tps in PROGRESS.findall(ended.stderr)][1 : seconds + 1]
    if not rounds:
        raise RowFailed(f"pgbench {name} told no progress: {last_lines(ended.stderr)}")
    calls = statistics.mean(rounds) * script.calls_a_round
    if not calls:
        raise RowFailed(f"pgbench {name} ended no call in {seconds} s")
    return Figure(calls, {"clients": clients, "threads": threads, "calls_per_second": calls})


def copy(folder: Path, url: str, customers: int) -> Figure:
    """How many customers a second psql copies out."""
    begun = time.monotonic()
    with open(os.devnull, "wb") as nowhere:
        ended = subprocess.run(
            ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", url, "-f", SQL / "copy.sql"],
            cwd=folder,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=nowhere,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    seconds = time.monotonic() - begun
    if ended.returncode != 0 or ended.stderr:
        raise RowFailed(f"COPY failed: {last_lines(ended.stderr)}")
    return Figure(customers / seconds, {"customers": customers, "seconds": seconds})


def argon2(folder: Path, seconds: int) -> Figure:
    """How many hashes a second the reference program makes, a process a core at any time."""
    cores = os.cpu_count() or 1
    begun = time.monotonic()

    def hash_on_and_on(_: int) -> int:
        hashes = 0
        while time.monotonic() < begun + seconds:
            # With -r it hashes only; otherwise it verifies its hash as well.
            subprocess.run(
                ARGON2,
                cwd=folder,
                env=environment(),
                input=b"Roter Dachs 7",
                stdout=subprocess.DEVNULL,
                check=True,
            )
            hashes += 1
        return hashes

    try:
        with ThreadPoolExecutor(cores) as pool:
            hashes = sum(pool.map(hash_on_and_on, range(cores)))
    except subprocess.CalledProcessError as error:
        raise RowFailed(f"argon2 ended with {error.returncode}") from None
    taken = time.monotonic() - begun
    return Figure(hashes / taken, {"hashes": hashes, "seconds": taken, "processes": cores})


def version_of(program: list[str], folder: Path) -> str:
    """What a program says of its version, or nothing where it is missing."""
    try:
        return run([*program], folder)
    except (OSError, RowFailed) as error:
        print(f"{program[0]}: {error}", file=sys.stderr)
        return "unknown"
