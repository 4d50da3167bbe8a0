"""A Citus cluster: a coordinator and two workers, started here or named by a URL."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from failover.processes import START_SECONDS, Account, Process, kill_with_children, run
from support.polling import until
from support.processes import Failed, free_port

Connection = psycopg.Connection[tuple[object, ...]]

SUPERUSER, USER = "postgres", "contact"
WORKERS = 2
DELAY_MICROSECONDS = 20_000

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "shared_preload_libraries": "citus",
    "max_connections": "300",
    "max_prepared_transactions": "300",
    "max_worker_processes": "32",
    # Otherwise Citus creates certificates of a version that the service's TLS rejects.
    "ssl": "off",
    "citus.node_conninfo": "sslmode=disable",
    # Shards are moved under writes by logical replication.
    "wal_level": "logical",
}
# Citus does not pass on the timeouts of the service's sessions: without this one, a statement that
# waits for a lock on a worker ends as if the database were unavailable.
LOCK_TIMEOUT = "1500ms"
# For tests with a database each, as a superuser: their rows need not outlive the run.
FAST_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "citus.shard_count": "4",
    "lock_timeout": LOCK_TIMEOUT,
}


class Node:
    """A PostgreSQL server of the cluster."""

    def __init__(self, name: str, url: str) -> None:
        self.name = name
        self._url = urlsplit(url)

    @property
    def address(self) -> tuple[str, int]:
        return self._url.hostname or "127.0.0.1", self._url.port or 5432

    def url(self, database: str = "postgres", user: str | None = None) -> str:
        """Returns the URL of a database, for the administrator or for another role."""
        at = self._url.netloc if user is None else f"{user}@{self._url.netloc.rpartition('@')[2]}"
        return self._url._replace(netloc=at, path=f"/{database}").geturl()

    def connect(self, database: str = "postgres") -> Connection:
        return psycopg.connect(self.url(database), autocommit=True, connect_timeout=5)


class LocalNode(Node):
    """A server that was started here and can be killed."""

    def __init__(
        self, name: str, folder: Path, binaries: Path, settings: Mapping[str, str], account: Account
    ) -> None:
        self._port = free_port()
        super().__init__(name, f"postgres://{SUPERUSER}@127.0.0.1:{self._port}/postgres")
        self._folder, self._binaries, self._account = folder, binaries, account
        self._data = folder / name
        self._options = [part for item in settings.items() for part in ("-c", "=".join(item))]
        self._process: Process | None = None

    def create(self) -> None:
        initdb = [self._binaries / "initdb", "-D", self._data, "-U", SUPERUSER, "-A", "trust"]
        encoding = ["-E", "UTF8", "--locale=C", "--no-sync"]
        run([*initdb, *encoding], self._folder, self._account)

    def start(self) -> None:
        """Starts the server and waits until it accepts connections."""
        command = [self._binaries / "postgres", "-D", self._data, "-p", str(self._port)]
        process = Process(self.name, [*command, *self._options], self._folder, self._account)
        self._process = process
        until(lambda: self._accepts(process), f"{self.name} to start", START_SECONDS)

    def stop(self) -> None:
        if self._process:
            self._process.stop(signal.SIGINT)

    def log(self) -> str:
        """Returns what the server has logged so far."""
        return self._process.log.read_text(errors="replace") if self._process else ""

    def kill(self) -> None:
        """Sends SIGKILL to the postmaster and all of its backends at once."""
        if not self._process:
            raise Failed(f"{self.name} has no server to kill")
        kill_with_children(self._process.pid)
        self._process.stop()

    def _accepts(self, process: Process) -> bool:
        process.expect_alive()
        try:
            self.connect().close()
        except psycopg.Error:
            return False
        return True


class Cluster:
    """The nodes, and the databases that the proofs create on them."""

    def __init__(self, nodes: Sequence[Node], user: str | None) -> None:
        """`user` is the role of the service; `None`: the one of the URL."""
        self.nodes = nodes
        self.user = user
        self.coordinator, *self.workers = nodes
        self._databases: set[str] = set()

    @classmethod
    def local(cls, folder: Path, binaries: Path, settings: Mapping[str, str]) -> Cluster:
        account = Account()
        account.own(folder)
        names = ["coordinator", *(f"worker{n}" for n in range(1, WORKERS + 1))]
        settings = {**SETTINGS, **settings}
        return cls([LocalNode(name, folder, binaries, settings, account) for name in names], USER)

    @classmethod
    def existing(cls, url: str) -> Cluster:
        """Returns the nodes that the coordinator at this URL knows."""
        coordinator = Node("coordinator", url)
        parts = urlsplit(url)
        with coordinator.connect(parts.path.lstrip("/")) as connection:
            rows = connection.execute(
                "SELECT nodename, nodeport FROM pg_dist_node"
                " WHERE groupid > 0 AND isactive AND noderole = 'primary' ORDER BY groupid"
            ).fetchall()
        if len(rows) < WORKERS:
            raise Failed(f"the cluster has {len(rows)} workers; {WORKERS} are required")
        login = parts.netloc.rpartition("@")[0]
        urls = [parts._replace(netloc=f"{login}@{host}:{port}").geturl() for host, port in rows]
        workers = [Node(f"worker{n}", worker) for n, worker in enumerate(urls, 1)]
        return cls([coordinator, *workers], None)

    def start(self) -> None:
        for node in self.local_nodes():
            node.create()
            node.start()
            with node.connect() as connection:
                connection.execute(f"CREATE ROLE {USER} LOGIN")
                connection.execute(f"ALTER ROLE {USER} SET lock_timeout = '{LOCK_TIMEOUT}'")

    def stop(self) -> None:
        """Stops the nodes that were started here; others lose only the databases."""
        for node in self.local_nodes():
            node.stop()
        if not self.local_nodes():
            for name in self._databases:
                self.drop_database(name)

    def local_nodes(self) -> list[LocalNode]:
        return [node for node in self.nodes if isinstance(node, LocalNode)]

    def create_database(self, name: str, delayed: Node | None = None) -> Database:
        """Creates a database on all nodes; every commit on a delayed one takes 20 ms longer."""
        self.drop_database(name)
        self._databases.add(name)
        owner = f"OWNER {self.user}" if self.user else ""
        for node in self.nodes:
            with node.connect() as connection:
                connection.execute(
                    f"CREATE DATABASE {name} {owner} ENCODING 'UTF8' TEMPLATE template0"
                )
                if node is delayed:
                    delay = f"ALTER DATABASE {name} SET commit_delay = {DELAY_MICROSECONDS}"
                    connection.execute(delay)
                    connection.execute(f"ALTER DATABASE {name} SET commit_siblings = 0")
            with node.connect(name) as connection:
                connection.execute("CREATE EXTENSION citus")
        with self.coordinator.connect(name) as connection:
            connection.execute(
                "SELECT citus_set_coordinator_host(%s, %s)", self.coordinator.address
            )
            for worker in self.workers:
                connection.execute("SELECT citus_add_node(%s, %s)", worker.address)
        return Database(self, name)

    def create_template(self, name: str) -> None:
        """Creates a database on all nodes that can be copied: it has no connections."""
        self.create_database(name)
        for node in self.nodes:
            with node.connect() as connection:
                connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
                connection.execute(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s",
                    [name],
                )

    def drop_database(self, name: str) -> None:
        for node in self.nodes:
            with node.connect() as connection:
                connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


class Database:
    """A database on all nodes."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster = cluster
        self.name = name

    def url(self, node: Node) -> str:
        """Returns the URL for an instance that connects to this node."""
        return node.url(self.name, self.cluster.user)

    def connect(self, node: Node | None = None) -> Connection:
        """Connects to a node as the administrator; to the coordinator by default."""
        return (node or self.cluster.coordinator).connect(self.name)

    def count(self, table_and_condition: str) -> int:
        with self.connect() as connection:
            row = connection.execute(f"SELECT count(*)::int FROM {table_and_condition}").fetchone()
        return int(str(row[0])) if row else 0

    def wait_for_feed(self) -> None:
        """Waits until all events are sequenced."""
        until(lambda: self.count("feed_inbox") == 0, "the feed to sequence all events", pause=0.2)

    def numbers_on(self, worker: Node, prefix: str, candidates: int) -> list[str]:
        """Returns the customer numbers with this prefix whose rows are on a worker."""
        with self.connect() as connection:
            rows = connection.execute(
                "SELECT number FROM (SELECT %s || n AS number FROM generate_series(1, %s) AS n) AS all_numbers"
                " JOIN pg_dist_shard_placement ON shardid ="
                " get_shard_id_for_distribution_column('customers', number)"
                " WHERE (nodename, nodeport) = (%s, %s)",
                [prefix, candidates, *worker.address],
            ).fetchall()
        return [str(row[0]) for row in rows]


def wait_until_answering(database: Database) -> float:
    """Waits until the coordinator reads from all nodes, and returns the time."""

    def answers() -> bool:
        try:
            return database.count("customers") >= 0
        except psycopg.Error:
            return False

    until(answers, "the cluster to answer", START_SECONDS, pause=0.05)
    return time.monotonic()
