"""Statements of one customer that Citus sends to the shards of others as well.

They return the same, but many times slower, and fail while any node is down. Citus logs what it sends
to several shards.
"""

from __future__ import annotations

import re

from psycopg import sql

from .cluster import Cluster, Database

SETTING = "citus.multi_task_query_log_level"
MESSAGE = "multi-task query about to be executed"
ENTRY = re.compile(r"^\d{4}-\d\d-\d\d [^\[\n]*\[(\d+)\] ([A-Z]+):  ", re.MULTILINE)
NAMES_A_CUSTOMER = re.compile(r'customer_number"? = (\$|ANY)')
# An erased customer has events under a pseudonym.
HAS_A_PSEUDONYM = "customer_number IN ($1, $2)"


def log_statements_of_several_shards(database: Database) -> None:
    """Has the nodes log them, for sessions that begin afterwards."""
    statement = sql.SQL("ALTER DATABASE {} SET {} = 'log'").format(
        sql.Identifier(database.name), sql.SQL(SETTING)
    )
    for node in database.cluster.nodes:
        with node.connect() as connection:
            connection.execute(statement)


def logged_statements(cluster: Cluster) -> set[str]:
    """Returns what the nodes that were started here sent to several shards."""
    return {text for node in cluster.local_nodes() for text in statements_of_log(node.log())}


def statements_of_log(log: str) -> set[str]:
    found, expected = set(), set()
    entries = list(ENTRY.finditer(log))
    ends = [entry.start() for entry in entries[1:]] + [len(log)]
    for entry, end in zip(entries, ends):
        process, level = entry.groups()
        text = log[entry.end() : end]
        if text.startswith(MESSAGE):
            expected.add(process)
        elif level == "STATEMENT" and process in expected:
            expected.remove(process)
            found.add(" ".join(text.split()))
    return found


def of_one_customer(statements: set[str]) -> list[str]:
    return [
        text
        for text in sorted(statements)
        if NAMES_A_CUSTOMER.search(text) and HAS_A_PSEUDONYM not in text
    ]


def deletes_old_events(statements: set[str]) -> bool:
    return any("DELETE FROM audit_events" in text for text in statements)
