"""PgBouncer in transaction mode, in front of HAProxy."""

from __future__ import annotations

from support.polling import until
from support.processes import free_port

from .cluster import DATABASE, USER, Cluster
from .processes import START_SECONDS, Process, is_open

CONFIG = """\
[databases]
{database} = host=127.0.0.1 port={server_port} user={user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 20
max_client_conn = 200
; What the driver prepared in a transaction is gone after it.
server_reset_query_always = 1
; After a failed login to the server it would wait for 15 s, during which all writes fail.
server_login_retry = 1
server_connect_timeout = 3
; Shorter than a request of the service may take; 2 min otherwise.
query_wait_timeout = 3
"""


class PgBouncer:
    """PgBouncer, from its start until it has ended."""

    def __init__(self, cluster: Cluster, run: str) -> None:
        self._cluster = cluster
        self._name = f"pgbouncer-{run}"
        self._port = free_port()
        self._process: Process | None = None

    @property
    def url(self) -> str:
        return f"postgres://{USER}@127.0.0.1:{self._port}/{DATABASE}?pgbouncer=true"

    def start(self) -> None:
        folder, server_port = self._cluster.folder, self._cluster.port
        config = folder / f"{self._name}.ini"
        config.write_text(
            CONFIG.format(database=DATABASE, user=USER, server_port=server_port, port=self._port)
        )
        self._process = Process(self._name, ["pgbouncer", config], folder, self._cluster.account)
        until(lambda: is_open(self._port), "PgBouncer", START_SECONDS)

    def stop(self) -> None:
        if self._process:
            # SIGTERM stops it immediately; SIGINT would wait for its clients.
            self._process.stop()
