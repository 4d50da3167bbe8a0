"""Every RPC over two instances, and what an erasure leaves on any node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from psycopg import sql

from failover.service import Service
from support.polling import until

from .cluster import Cluster, Connection, Database
from .instances import instances
from .result import Result
from .shards import (
    deletes_old_events,
    log_statements_of_several_shards,
    logged_statements,
    of_one_customer,
)
from .story import RPCS, DeferringMailbox, Story, missing_calls

# PostgreSQL tries a plan without parameters, which Citus may reject, when a connection runs a
# statement for the sixth time.
STORIES = 16
# Ordinary tables and shards, also those that Citus hides. The rows of a table that is distributed
# are in its shards; what it has itself are rows that a distribution left there.
TABLES = """
    SELECT c.oid::bigint, n.nspname, c.relname, p.partmethod IS NOT DISTINCT FROM 'h'
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    LEFT JOIN pg_dist_partition AS p ON p.logicalrelid = c.oid
    WHERE c.relkind IN ('r', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
"""


@contextmanager
def stories(
    cluster: Cluster, folder: Path, name: str, count: int
) -> Iterator[tuple[Database, Service, list[Story]]]:
    """Plays the story some times; each begins at another instance than the one before."""
    database = cluster.create_database(name)
    log_statements_of_several_shards(database)
    folder.mkdir()
    with DeferringMailbox() as mailbox:
        urls = [mailbox.smtp_url] * 2
        with instances(database, folder / "instances", urls) as service:
            played = [Story(service, mailbox, first) for first in range(count)]
            try:
                for story in played:
                    story.play()
                yield database, service, played
            finally:
                for story in played:
                    story.close()


def prove_rpcs(cluster: Cluster, folder: Path, _: float) -> Result:
    """Every RPC works through both instances, and asks only the shard of its customer."""
    with stories(cluster, folder, "contacts_rpcs", STORIES) as (_database, _service, played):
        for story in played:
            story.erase()
        # The background jobs begin half a minute after the start of an instance.
        if cluster.local_nodes():
            until(
                lambda: deletes_old_events(logged_statements(cluster)),
                "a log of the retention's statements to several shards",
                seconds=120,
                pause=1,
            )
    logged = logged_statements(cluster)
    scattered = of_one_customer(logged)
    wrong = [f"asks shards of other customers: {text}" for text in scattered]
    return Result(
        f"{len(RPCS)} RPCs, each at least {STORIES // 2} times through each of two instances;"
        f" of {len(logged)} statements to several shards, {len(scattered)} name one customer",
        wrong + list(missing_calls(played)),
    )


def prove_erasure(cluster: Cluster, folder: Path, _: float) -> Result:
    """Nothing of an erased customer is on any node, and another customer is untouched."""
    with stories(cluster, folder, "contacts_erasure", 2) as (database, service, (erased, kept)):
        import_contact(service, folder, erased)
        values = erased.secrets()
        before, kept_before = (
            find_everywhere(database, story.secrets()) for story in (erased, kept)
        )
        erased.erase()
        database.wait_for_feed()
        after, kept_after = (find_everywhere(database, story.secrets()) for story in (erased, kept))
    wrong = [f"{value} is in {table} after the erasure" for table, value in after]
    # Otherwise the search proves nothing.
    missed = set(values) - {value for _, value in before}
    wrong += [f"{value} is in no table before the erasure" for value in missed]
    if kept_before != kept_after:
        wrong.append("the rows of another customer changed")
    return Result(
        f"{len(values)} values in {len({table for table, _ in before})} tables and shards of"
        f" {len(cluster.nodes)} nodes, {sum(before.values()):,} times; {sum(after.values())} times"
        " after the erasure",
        wrong,
    )


def import_contact(service: Service, folder: Path, story: Story) -> None:
    """Imports a contact, as only this leaves a row of an import."""
    file = folder / "contacts.csv"
    file.write_text(
        "customer_number;types;display_name;email\n"
        f"{story.number};STANDARD;{story.other_name};{story.deferred_email}\n"
    )
    service.run("import", str(file), "--emails-confirmed")


def find_everywhere(database: Database, values: list[str]) -> Counter[tuple[str, str]]:
    """Returns the number of rows with each value, by table and value."""
    found: Counter[tuple[str, str]] = Counter()
    for node in database.cluster.nodes:
        with database.connect(node) as connection:
            connection.execute("SET citus.override_table_visibility = off")
            for table, value, count in find_on_node(connection, values):
                found[f"{table} of the {node.name}", value] = count
    return found


def find_on_node(connection: Connection, values: list[str]) -> Iterator[tuple[str, str, int]]:
    for oid, schema, name, is_distributed in connection.execute(TABLES).fetchall():
        if is_distributed:
            row = connection.execute("SELECT pg_relation_size(%s::oid)::int", [oid]).fetchone()
            if row and row[0]:
                yield f"{schema}.{name}", "rows that are in no shard", int(str(row[0]))
            continue
        # As text, and as the hexadecimal form of bytes.
        query = sql.SQL(
            "SELECT value, count(*)::int FROM unnest(%s::text[]) AS value JOIN {} AS t"
            " ON strpos(lower(t::text), lower(value)) > 0"
            " OR strpos(t::text, encode(convert_to(value, 'UTF8'), 'hex')) > 0 GROUP BY value"
        ).format(sql.Identifier(str(schema), str(name)))
        for value, count in connection.execute(query, [values]).fetchall():
            yield f"{schema}.{name}", str(value), int(str(count))
