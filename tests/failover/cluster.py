"""Three PostgreSQL nodes under Patroni, etcd, and HAProxy, which routes to the leader."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.error
import urllib.request
from pathlib import Path

import psycopg

from support.polling import until
from support.processes import Failed, free_port

from .processes import (
    START_SECONDS,
    Account,
    Process,
    children,
    command_line,
    is_open,
    kill_with_children,
    run,
)

SUPERUSER, USER, DATABASE = "postgres", "contact", "contacts"
NODES = 3
# Far above the time that a node takes to follow the new leader.
STANDBY_SECONDS = 90.0
# How long replication is paused before a kill that is meant to lose writes.
PAUSED_SECONDS = 0.5

HAPROXY = """\
global
    maxconn 1000
defaults
    mode tcp
    timeout connect 1s
    timeout client 30m
    timeout server 30m
    timeout check 1s
listen primary
    bind 127.0.0.1:{port}
    option httpchk OPTIONS /primary
    http-check expect status 200
    default-server inter 1s fall 2 rise 1 on-marked-down shutdown-sessions
{servers}
"""
HAPROXY_SERVER = "    server {name} 127.0.0.1:{port} check port {rest_port}"

# The service sets these for its sessions on a direct connection; PgBouncer's sessions need them
# too.
TIMEOUTS = {
    "statement_timeout": "3s",
    "lock_timeout": "1s",
    "idle_in_transaction_session_timeout": "10s",
}


class Node:
    """PostgreSQL with its Patroni."""

    def __init__(self, name: str, folder: Path, account: Account) -> None:
        self.name = name
        self.folder = folder / name
        self.data = self.folder / "data"
        self.port, self.rest_port = free_port(), free_port()
        self.config = self.folder / "patroni.json"
        self._account = account
        self._patroni: Process | None = None
        self.folder.mkdir()
        account.own(self.folder)

    def start(self, binaries: Path, etcd_port: int, is_synchronous: bool) -> None:
        text = json.dumps(self._settings(binaries, etcd_port, is_synchronous), indent=2)
        self.config.write_text(text)
        self._patroni = Process("patroni", ["patroni", self.config], self.folder, self._account)

    def stop(self) -> None:
        if self._patroni:
            self._patroni.stop()
        # PostgreSQL outlives a Patroni that could not stop it.
        if self._postmaster():
            self.kill_server()

    def is_primary(self) -> bool:
        """Returns true if HAProxy would route to this node."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.rest_port}/primary", method="OPTIONS"
        )
        try:
            with urllib.request.urlopen(request, timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def kill_server(self) -> None:
        """Sends SIGKILL to the postmaster and all of its children."""
        postmaster = self._postmaster()
        if not postmaster:
            raise Failed(f"{self.name} has no server to kill")
        kill_with_children(postmaster)

    def pause_replication(self) -> None:
        """Pauses replication, so that later writes exist on the leader only."""
        postmaster = self._postmaster()
        for pid in children(postmaster) if postmaster else []:
            if b"walsender" in command_line(pid):
                os.kill(pid, signal.SIGSTOP)

    def _postmaster(self) -> int | None:
        try:
            pid = int((self.data / "postmaster.pid").read_text().split("\n")[0])
        except (OSError, ValueError):
            return None
        return pid if b"postgres" in command_line(pid) else None

    def _settings(self, binaries: Path, etcd_port: int, is_synchronous: bool) -> dict[str, object]:
        return {
            "scope": "contacts",
            "name": self.name,
            "restapi": {
                "listen": f"127.0.0.1:{self.rest_port}",
                "connect_address": f"127.0.0.1:{self.rest_port}",
            },
            "etcd3": {"host": f"127.0.0.1:{etcd_port}"},
            "bootstrap": {
                "dcs": {
                    "ttl": 20,
                    "loop_wait": 1,
                    "retry_timeout": 3,
                    "synchronous_mode": is_synchronous,
                    # A killed server is not waited for: another one takes over.
                    "master_start_timeout": 0,
                    "postgresql": {
                        "use_pg_rewind": True,
                        "parameters": {
                            "max_connections": 200,
                            "synchronous_commit": "on",
                            "wal_retrieve_retry_interval": "200ms",
                        },
                    },
                },
                "initdb": [{"encoding": "UTF8"}, {"locale": "C"}, "data-checksums"],
                "pg_hba": [
                    "host all all 127.0.0.1/32 trust",
                    "host replication all 127.0.0.1/32 trust",
                ],
            },
            "postgresql": {
                "listen": f"127.0.0.1:{self.port}",
                "connect_address": f"127.0.0.1:{self.port}",
                "data_dir": str(self.data),
                "bin_dir": str(binaries),
                "pgpass": str(self.folder / "pgpass"),
                "authentication": {
                    "superuser": {"username": SUPERUSER, "password": "of-this-run"},
                    "replication": {"username": "replicator", "password": "of-this-run"},
                },
                "parameters": {"unix_socket_directories": ""},
                "remove_data_directory_on_rewind_failure": True,
                "remove_data_directory_on_diverged_timelines": True,
            },
        }


class Cluster:
    """The cluster, from its start until all of it has ended."""

    def __init__(self, folder: Path, binaries: Path, is_synchronous: bool) -> None:
        self.account = Account()
        self.folder = folder
        self.account.own(folder)
        self.port = free_port()
        self.is_synchronous = is_synchronous
        self.nodes = [Node(f"node{n}", folder, self.account) for n in range(1, NODES + 1)]
        self._binaries = binaries
        self._processes: list[Process] = []

    def start(self) -> None:
        etcd_port = self._start_etcd()
        first, *others = self.nodes
        first.start(self._binaries, etcd_port, self.is_synchronous)
        until(first.is_primary, "the first node to lead", START_SECONDS)
        for node in others:
            node.start(self._binaries, etcd_port, self.is_synchronous)
        self._start_haproxy()
        self.wait_for_standby()
        self._make_database()

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()
        for process in reversed(self._processes):
            process.stop()

    def url(self, user: str = USER) -> str:
        """Returns the URL of the leader through HAProxy."""
        return f"postgres://{user}@127.0.0.1:{self.port}/{DATABASE}"

    def set_timeouts(self) -> None:
        """Sets the timeouts of the service's role, for sessions that get none from the service."""
        with self.connect() as connection:
            for name, value in TIMEOUTS.items():
                connection.execute(f"ALTER ROLE {USER} SET {name} = '{value}'")

    def connect(self) -> psycopg.Connection[tuple[object, ...]]:
        """Connects to the leader directly."""
        return psycopg.connect(self.url(SUPERUSER), autocommit=True, connect_timeout=2)

    def leader(self) -> Node:
        members = {member["name"]: member["role"] for member in self._members()}
        for node in self.nodes:
            if members.get(node.name) in ("leader", "primary") and node.is_primary():
                return node
        raise Failed("there is no leader")

    def standby(self) -> str | None:
        """Returns a node that can take over: with synchronous replication, one that has all writes.
        """
        role = "sync_standby" if self.is_synchronous else "replica"
        for member in self._members():
            if member["role"] == role and member["state"] in ("running", "streaming"):
                return member["name"]
        return None

    def wait_for_standby(self) -> str:
        """Waits until a node can take over, without which a switchover is rejected."""
        return until(
            lambda: self.is_led() and self.standby(),
            "a standby that may take over",
            STANDBY_SECONDS,
        )

    def is_led(self) -> bool:
        return sum(node.is_primary() for node in self.nodes) == 1

    def kill_leader(self) -> Node:
        """Sends SIGKILL to the leader's postmaster and all of its backends at once."""
        leader = self.leader()
        if not self.is_synchronous:
            leader.pause_replication()
            time.sleep(PAUSED_SECONDS)
        leader.kill_server()
        return leader

    def switch_over(self) -> None:
        leader, candidate = self.leader(), self.wait_for_standby()
        run(
            [
                "patronictl",
                "-c",
                leader.config,
                "switchover",
                "--force",
                "--master",
                leader.name,
                "--candidate",
                candidate,
                "contacts",
            ],
            self.folder,
            self.account,
        )

    def expect_alive(self) -> None:
        for process in self._processes:
            process.expect_alive()

    def _members(self) -> list[dict[str, str]]:
        for node in self.nodes:
            try:
                url = f"http://127.0.0.1:{node.rest_port}/cluster"
                with urllib.request.urlopen(url, timeout=2) as answer:
                    return list(json.load(answer)["members"])
            except (OSError, ValueError, KeyError, urllib.error.URLError):
                continue
        return []

    def _start(self, name: str, *arguments: str | Path) -> None:
        self._processes.append(Process(name, arguments, self.folder, self.account))

    def _start_etcd(self) -> int:
        client_port, peer_port = free_port(), free_port()
        client, peer = (f"http://127.0.0.1:{port}" for port in (client_port, peer_port))
        self._start(
            "etcd",
            "etcd",
            f"--data-dir={self.folder / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
        )
        until(lambda: is_open(client_port), "etcd", START_SECONDS)
        return client_port

    def _start_haproxy(self) -> None:
        servers = [
            HAPROXY_SERVER.format(name=node.name, port=node.port, rest_port=node.rest_port)
            for node in self.nodes
        ]
        config = self.folder / "haproxy.cfg"
        config.write_text(HAPROXY.format(port=self.port, servers="\n".join(servers)))
        self._start("haproxy", "haproxy", "-db", "-f", config)
        until(lambda: is_open(self.port), "HAProxy", START_SECONDS)

    def _make_database(self) -> None:
        server = f"postgres://{SUPERUSER}@127.0.0.1:{self.leader().port}"
        with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
            connection.execute(f"CREATE ROLE {USER} LOGIN")
            connection.execute(f"CREATE DATABASE {DATABASE} OWNER {USER}")
        with psycopg.connect(f"{server}/{DATABASE}", autocommit=True) as connection:
            connection.execute("CREATE TABLE probe AS SELECT 0::bigint AS writes")
