"""The mail server of a service that writes to customers: a real Postfix that relays and bounces."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from .polling import until
from .postfix import AS_ROOT, Instance

# The domain of the senders. Bounces to bounces@ and bounces+...@ arrive in one Maildir.
DOMAIN = "hoster.example"
SUBMISSION = "submission"

MAIN = f"""
myhostname = out.{DOMAIN}
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
recipient_delimiter = +
virtual_mailbox_domains = {DOMAIN}
virtual_mailbox_base = {{folder}}/mail
virtual_mailbox_maps = inline:{{{{{{{{bounces@{DOMAIN} = bounces/}}}}}}}}
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
transport_maps = inline:{{{{{{routes}}}}}}
default_transport = error:5.1.2 no such domain
smtp_host_lookup = native
smtp_dns_support_level = disabled
"""


class Relay(Instance):
    """Accepts every mail of this machine, as a relay does, and bounces what the next server rejects."""

    def __init__(self, routes: dict[str, int]) -> None:
        """Each domain of `routes` is relayed to a port."""
        super().__init__([SUBMISSION])
        self._routes = routes
        self._maildir = self._folder / "mail" / "bounces"

    @property
    def url(self) -> str:
        return self.smtp_url(SUBMISSION)

    def bounces(self, count: int, folder: Path) -> Path:
        """Waits for this many bounces, and copies their Maildir into a folder."""
        until(lambda: self._count() >= count, f"{count} bounces", pause=0.1)
        copy = folder / "Maildir"
        subprocess.run([*AS_ROOT, "cp", "-r", str(self._maildir), str(copy)], check=True)
        owner = f"{os.getuid()}:{os.getgid()}"
        subprocess.run([*AS_ROOT, "chown", "-R", owner, str(copy)], check=True)
        return copy

    def _count(self) -> int:
        command = [*AS_ROOT, "ls", str(self._maildir / "new")]
        listed = subprocess.run(command, capture_output=True, check=False)
        return len(listed.stdout.splitlines())

    def _main(self) -> str:
        routes = ", ".join(
            f"{{{domain} = smtp:[127.0.0.1]:{port}}}" for domain, port in self._routes.items()
        )
        return MAIN.format(folder=self._folder, routes=routes)

    def _services(self) -> list[str]:
        return [
            f"127.0.0.1:{self.port(SUBMISSION)} inet n - n - - smtpd",
            "smtp unix - - n - - smtp",
            "virtual unix - n n - - virtual",
        ]

    def _configure(self) -> None:
        super()._configure()
        maildirs = str(self._maildir.parent)
        for command in (["mkdir", maildirs], ["chown", "65534:65534", maildirs]):
            subprocess.run([*AS_ROOT, *command], check=True)
