"""A real Postfix with its own configuration, queue and ports.

Each port rejects mail in another way. Requires root, directly or through sudo.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import socketserver
import subprocess
import tempfile
import threading
from collections.abc import Iterable
from pathlib import Path

from .polling import TIMEOUT_SECONDS, until
from .processes import free_port

DOMAIN = "kunde.example"
# The recipient that exists.
KNOWN = f"anna@{DOMAIN}"
# A domain that requires relaying.
FOREIGN_DOMAIN = "anderswo.example"

# The behavior of a port. "Delivers" accepts mail for KNOWN and rejects all other recipients.
DELIVERS, REJECTS_CLIENT, REJECTS_SENDER, GREYLISTS = "delivers", "client", "sender", "greylists"
OPTIONS = {
    DELIVERS: "",
    REJECTS_CLIENT: "-o { smtpd_client_restrictions = "
    "check_client_access inline:{{127.0.0.1 = REJECT blocked using rbl.example}} }",
    REJECTS_SENDER: "-o { smtpd_sender_restrictions = "
    "check_sender_access inline:{{hoster.example = 550 5.1.8 Domain not found}} }",
    GREYLISTS: "-o { smtpd_recipient_restrictions = check_policy_service inet:127.0.0.1:%d }",
}

COMMON = """
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/mail.log
maillog_file_prefixes = {folder}
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
smtpd_peername_lookup = no
alias_maps =
alias_database =
local_recipient_maps =
"""
MAIN = f"""
myhostname = mx.{DOMAIN}
mynetworks = 192.0.2.0/24
smtpd_relay_restrictions = reject_unauth_destination
smtpd_policy_service_default_action = 451 4.3.5 no policy
virtual_mailbox_domains = {DOMAIN}
virtual_mailbox_maps = inline:{{{{{KNOWN} = x}}}}
virtual_transport = discard:
"""

# Every line is a service: name, type, private, unprivileged, chroot, wakeup, processes, command.
SERVICES = """
postlog unix-dgram n - n - 1 postlogd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
proxymap unix - - n - - proxymap
anvil unix - - n - 1 anvil
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
"""

ATTRIBUTE = re.compile(rb"^([a-z_]+)=(.*)$", re.MULTILINE)


class Greylist(socketserver.ThreadingTCPServer):
    """Postfix's policy protocol: rejects each recipient once, temporarily."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        self.attempted: list[bytes] = []
        super().__init__(("127.0.0.1", 0), _GreylistHandler)


class _GreylistHandler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        request = b""
        for line in self.rfile:
            request += line
            if line != b"\n":
                continue
            recipient = dict(ATTRIBUTE.findall(request))[b"recipient"]
            is_known = recipient in self.server.attempted
            self.server.attempted.append(recipient)
            action = b"DUNNO" if is_known else b"450 4.7.1 Greylisted, try again later"
            self.wfile.write(b"action=" + action + b"\n\n")
            request = b""


class Instance:
    """A Postfix with its own configuration. Its ports are known before it starts."""

    def __init__(self, ports: Iterable[str]) -> None:
        # Parts of it belong to the user postfix, which needs access.
        self._folder = Path(tempfile.mkdtemp(prefix="contact-postfix."))
        self._folder.chmod(0o755)
        self._log = self._folder / "mail.log"
        self._ports = {kind: free_port() for kind in ports}

    def port(self, kind: str) -> int:
        return self._ports[kind]

    def smtp_url(self, kind: str) -> str:
        return f"smtp://127.0.0.1:{self.port(kind)}"

    def __enter__(self):
        self._configure()
        started = self._postfix("start")
        assert started.returncode == 0, f"Postfix did not start: {started.stderr}"
        try:
            until(self._is_up, "Postfix to start")
        except AssertionError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._postfix("abort")
        subprocess.run([*AS_ROOT, "rm", "-rf", str(self._folder)], check=False)

    @property
    def log(self) -> str:
        """The log of Postfix."""
        shown = subprocess.run([*AS_ROOT, "cat", str(self._log)], capture_output=True, check=False)
        return shown.stdout.decode(errors="replace")

    def _main(self) -> str:
        """Returns the settings in addition to COMMON."""
        raise NotImplementedError

    def _services(self) -> list[str]:
        """Returns the services in addition to SERVICES."""
        raise NotImplementedError

    def _configure(self) -> None:
        for name in ("queue", "data"):
            (self._folder / name).mkdir()
        main = COMMON.format(folder=self._folder) + self._main()
        (self._folder / "main.cf").write_text(main.strip() + "\n")
        services = [*SERVICES.strip().splitlines(), *self._services()]
        (self._folder / "master.cf").write_text("\n".join(services) + "\n")
        owned = ["chown", "-R", "root:root", str(self._folder)]
        subprocess.run([*AS_ROOT, *owned], check=True)
        owned = ["chown", "postfix", str(self._folder / "data")]
        subprocess.run([*AS_ROOT, *owned], check=True)

    def _is_up(self) -> bool:
        for port in self._ports.values():
            try:
                with socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS) as connection:
                    if not connection.recv(4).startswith(b"220"):
                        return False
            except OSError:
                return False
        return True

    def _postfix(self, command: str) -> subprocess.CompletedProcess[str]:
        program = shutil.which("postfix", path=f"{os.environ['PATH']}:/usr/sbin")
        assert program, "Postfix is not installed: run scripts/e2e"
        return subprocess.run(
            [*AS_ROOT, program, "-c", str(self._folder), command],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )


class Postfix(Instance):
    """The mail server of the customers."""

    def __init__(self) -> None:
        super().__init__(OPTIONS)
        self.greylist = Greylist()

    def __enter__(self) -> Postfix:
        threading.Thread(target=self.greylist.serve_forever, daemon=True).start()
        return super().__enter__()

    def __exit__(self, *_: object) -> None:
        self.greylist.shutdown()
        self.greylist.server_close()
        super().__exit__()

    def delivered(self, recipient: str) -> int:
        """Returns the number of copies delivered to an address."""
        return len(re.findall(rf"to=<{re.escape(recipient)}>.*status=sent", self.log))

    def _main(self) -> str:
        return MAIN

    def _services(self) -> list[str]:
        services = []
        for kind, port in self._ports.items():
            options = OPTIONS[kind]
            if "%d" in options:
                options %= self.greylist.server_address[1]
            services.append(f"127.0.0.1:{port} inet n - n - - smtpd {options}")
        return services


# Postfix drops root privileges itself.
AS_ROOT = [] if os.geteuid() == 0 else ["sudo", "-n"]
