"""The tests of the API on distributed databases, by cargo nextest."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from .cluster import Cluster
from .result import Result

ROOT = Path(__file__).resolve().parent.parent.parent
# tests/api names its databases by the process of the test.
TEST_DATABASE = re.compile(r"test_(\d+)_[0-9a-f]+")
TEMPLATE = "citus_template"
SWEEP_SECONDS = 5.0
SUMMARY = re.compile(r"Summary \[.*?\] (.*)")
FAILED = re.compile(r"^\s*(?:FAIL|TIMEOUT|ABORT|SIG\w+) \[.*?\] (?:\([^)]*\) )?(\S+ \S+)")
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")

# Tests of PostgreSQL that say nothing about Citus, each with the reason.
AUTO_EXPLAIN = "auto_explain, with which Citus rejects a DELETE in a WITH that has parameters"
EXCLUDED = {
    "distributed_form::every_statement_of_an_rpc_names_one_customer": AUTO_EXPLAIN,
    "query_plans::every_statement_has_a_matching_index": AUTO_EXPLAIN,
    "storage::rule_2_direct_writes_cannot_remove_the_last_standard"
    "::case_4_its_move_to_another_customer::backend_2_Backend__Postgres": (
        "Citus rejects the new customer number before the trigger"
    ),
}


def prove_api(cluster: Cluster, arguments: Sequence[str]) -> Result:
    """Runs tests/api; `arguments` are those of cargo nextest."""
    settings = {
        "TEST_POSTGRES_URL": cluster.coordinator.url(),
        "TEST_CITUS_WORKERS": " ".join(worker.url() for worker in cluster.workers),
    }
    excluded = "".join(f" - test(={name})" for name in EXCLUDED)
    command = ["cargo", "nextest", "run", "--locked", "--no-fail-fast", "--test", "api"]
    # Those of Citus are ignored by default, and the proofs are for one node.
    command += ["--run-ignored=all", "-E", f"not test(qlite) - test(proof_){excluded}", *arguments]
    summary, wrong = "no summary", []
    cluster.create_template(TEMPLATE)
    with (
        sweeping(cluster),
        subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | settings,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as running,
    ):
        assert running.stdout
        for line in running.stdout:
            print(line, end="", file=sys.stderr, flush=True)
            plain = ESCAPES.sub("", line)
            if found := SUMMARY.search(plain):
                summary = found.group(1)
            elif found := FAILED.search(plain):
                wrong.append(found.group(1))
    if running.returncode and not wrong:
        wrong.append(f"cargo nextest ended with {running.returncode}")
    return Result(f"{summary}; {len(EXCLUDED)} tests excluded", list(dict.fromkeys(wrong)))


@contextmanager
def sweeping(cluster: Cluster) -> Iterator[None]:
    """Drops the databases of ended tests: each has background workers on every node."""
    is_over = threading.Event()

    def sweep() -> None:
        while not is_over.wait(SWEEP_SECONDS):
            for name in ended_databases(cluster):
                cluster.drop_database(name)

    sweeper = threading.Thread(target=sweep, daemon=True)
    sweeper.start()
    try:
        yield
    finally:
        is_over.set()
        sweeper.join()


def ended_databases(cluster: Cluster) -> list[str]:
    names: set[str] = set()
    for node in cluster.nodes:
        with node.connect() as connection:
            rows = connection.execute("SELECT datname FROM pg_database").fetchall()
        names.update(str(row[0]) for row in rows)
    matches = [TEST_DATABASE.fullmatch(name) for name in names]
    return [found[0] for found in matches if found and not Path(f"/proc/{found[1]}").exists()]
