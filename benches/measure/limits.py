"""The references: pgbench, COPY, and the reference implementation of argon2."""

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

from support.processes import Failed, environment, last_lines

from .figures import Figure, RowFailed
from .processes import run_tool
from .server import psql

SQL = Path(__file__).resolve().parent.parent / "sql"
# Few, because each connection prepares all of them; many compared with the one that fetches.
STATEMENTS_PER_ROUND = 12
DRAWN_ROWS = 500_000
DRAW = re.compile(r"^-- draw ([\w, ]+): (.+)$", re.MULTILINE)
STATEMENT_END = re.compile(r";[ ]*$|\\gset[ ]*$", re.MULTILINE)
PROGRESS = re.compile(r"^progress: [\d.]+ s, ([\d.]+) tps", re.MULTILINE)
ARGON2 = ["argon2", "saltsaltsaltsalt", "-id", "-t", "3", "-k", "65536", "-p", "1", "-r"]


@dataclass(frozen=True)
class Script:
    """A file of benches/sql: the statements of one RPC as a pgbench script.

    pgbench draws numbers but no ids. If a script names the ids to draw, they are drawn into a table
    beforehand, in groups: each round fetches a group and runs the statements for each member.
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
        return max(1, STATEMENTS_PER_ROUND // self.statements)

    @property
    def requests_per_round(self) -> float:
        """Fetching a group counts as one statement: it is a read by key like the others."""
        return self.group + 1 / self.statements if self.draw else 1

    def prepare(self, folder: Path, url: str) -> str:
        """Draws the ids if necessary, and returns the pgbench script."""
        if not self.draw:
            return self.body
        if not psql(folder, url, f"SELECT to_regclass('{self.table}')"):
            self._fill(folder, url)
        groups = int(psql(folder, url, f"SELECT count(*) FROM {self.table}"))
        if groups == 0:
            raise RowFailed(f"{self.name}.sql: too few rows to draw from")
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
            WITH drawn ({columns}) AS ({self.draw} ORDER BY random() LIMIT {DRAWN_ROWS}),
            numbered AS (SELECT (row_number() OVER () - 1) / {self.group} AS slot, * FROM drawn)
            SELECT slot, {arrays} FROM numbered GROUP BY slot HAVING count(*) = {self.group}""",
            f"ALTER TABLE {self.table} ADD PRIMARY KEY (slot)",
            f"VACUUM (ANALYZE) {self.table}",
        )


def pgbench(
    folder: Path, url: str, name: str, customers: int, clients: int, seconds: int
) -> Figure:
    """Measures the RPCs per second of PostgreSQL alone, with one in flight per client."""
    script = Script.read(name)
    file = folder / f"{name}.pgbench"
    file.write_text(script.prepare(folder, url))
    threads = min(clients, os.cpu_count() or 1)
    arguments = ["pgbench", "-n", "-M", "prepared", f"-Dcustomers={customers}", f"-f{file}"]
    arguments += [f"-c{clients}", f"-j{threads}"]
    # The first second is for connecting and preparing, the last one for finishing.
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
        raise RowFailed(f"pgbench {name} reported no progress: {last_lines(ended.stderr)}")
    requests = statistics.mean(rounds) * script.requests_per_round
    if not requests:
        raise RowFailed(f"pgbench {name} completed nothing in {seconds} s")
    return Figure(
        requests, {"clients": clients, "threads": threads, "requests_per_second": requests}
    )


def copy(folder: Path, url: str, customers: int) -> Figure:
    """Measures the customers per second that psql copies out."""
    start = time.monotonic()
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
    seconds = time.monotonic() - start
    if ended.returncode != 0 or ended.stderr:
        raise RowFailed(f"COPY failed: {last_lines(ended.stderr)}")
    return Figure(customers / seconds, {"customers": customers, "seconds": seconds})


def argon2(folder: Path, seconds: int) -> Figure:
    """Measures the hashes per second of the reference implementation, one process per core."""
    cores = os.cpu_count() or 1
    start = time.monotonic()

    def hash_repeatedly(_: int) -> int:
        hashes = 0
        while time.monotonic() < start + seconds:
            # With -r it only hashes; otherwise it verifies the hash as well.
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
            hashes = sum(pool.map(hash_repeatedly, range(cores)))
    except subprocess.CalledProcessError as error:
        raise RowFailed(f"argon2 ended with {error.returncode}") from None
    taken = time.monotonic() - start
    return Figure(hashes / taken, {"hashes": hashes, "seconds": taken, "processes": cores})


def version_of(program: list[str], folder: Path) -> str:
    """Returns the version that a program prints, or an empty text if it is missing."""
    try:
        return run_tool([*program], folder)
    except (OSError, Failed) as error:
        print(f"{program[0]}: {error}", file=sys.stderr)
        return "unknown"
