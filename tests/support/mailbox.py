"""Real SMTP servers that keep their messages, one for each kind of protection."""

from __future__ import annotations

import asyncio
import email
import email.policy
import re
import ssl
import threading
from dataclasses import dataclass
from email.message import EmailMessage

import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

from .polling import TIMEOUT_SECONDS, until
from .processes import free_port

USER = "mailer"
PASSWORD = "s3cret+word"

# The kinds of protection of a server.
PLAIN, STARTTLS, STARTTLS_AUTH, SMTPS = "plain", "starttls", "starttls-auth", "smtps"
# Optional STARTTLS.
OFFERED = "offered"
PROTECTIONS = [PLAIN, STARTTLS, STARTTLS_AUTH, SMTPS]

# A link has a line of its own.
LINK = re.compile(r"^(\S+/confirm#(\S+))$", re.MULTILINE)


@dataclass(frozen=True)
class Mail:
    """An e-mail as a server accepted it."""

    sender: str
    recipient: str
    message: EmailMessage

    @property
    def message_id(self) -> str:
        return self.message["Message-ID"]

    @property
    def text(self) -> str:
        return self._part("plain")

    @property
    def html(self) -> str:
        return self._part("html")

    @property
    def link(self) -> str:
        """The only confirmation link in the text part."""
        links = LINK.findall(self.text)
        assert len(links) == 1, f"{len(links)} links in {self.message['Subject']!r}"
        return links[0][0]

    @property
    def token(self) -> str:
        return self.link.rpartition("#")[2]

    def _part(self, kind: str) -> str:
        body = self.message.get_body((kind,))
        assert body, f"no {kind} part in {self.message['Subject']!r}"
        return body.get_content().replace("\r\n", "\n")


class Mailbox:
    """An SMTP server on loopback, in its own thread."""

    def __init__(
        self,
        protection: str = PLAIN,
        authority: trustme.CA | None = None,
        certificate: trustme.LeafCert | None = None,
    ) -> None:
        self._mails: list[Mail] = []
        self._lock = threading.Lock()
        self._hold_at = ""
        self._held = threading.Event()
        self.tls_used: set[bool] = set()
        self.logins: list[str] = []
        self._port = free_port()
        self.smtp_url = self.url(protection)
        if authority:
            certificate = authority.issue_cert("127.0.0.1", "localhost")
        self._controller = Controller(
            self, hostname="127.0.0.1", port=self._port, **self._options(protection, certificate)
        )

    def __enter__(self) -> Mailbox:
        self._controller.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._controller.stop()

    def url(self, protection: str) -> str:
        """Returns the SMTP_URL for clients that require this protection."""
        at = f"127.0.0.1:{self._port}"
        return {
            PLAIN: f"smtp://{at}",
            OFFERED: f"smtp://{at}",
            STARTTLS: f"smtp://{at}?tls=required",
            STARTTLS_AUTH: f"smtp://{USER}:s3cret%2Bword@{at}?tls=required",
            SMTPS: f"smtps://{at}",
        }[protection]

    def mails_to(self, recipient: str) -> list[Mail]:
        """Returns the e-mails accepted for an address so far."""
        with self._lock:
            return [mail for mail in self._mails if mail.recipient == recipient]

    def recipients(self) -> list[str]:
        """Returns the recipients of all e-mails so far, once per e-mail."""
        with self._lock:
            return sorted(mail.recipient for mail in self._mails)

    def wait_for(self, recipient: str, count: int = 1, seconds: float = TIMEOUT_SECONDS) -> Mail:
        """Waits for the count-th e-mail to an address and returns it."""
        what = f"mail {count} to {recipient}"
        return until(lambda: self.mails_to(recipient)[count - 1 :], what, seconds)[0]

    def hold_at(self, command: str) -> None:
        """Makes the next dialogue hang at EHLO, MAIL, RCPT or DATA."""
        self._held.clear()
        self._hold_at = command

    def wait_until_held(self) -> None:
        """Waits until a dialogue hangs, and lets later ones pass."""
        assert self._held.wait(TIMEOUT_SECONDS), f"no dialogue got to {self._hold_at}"
        self._hold_at = ""

    # aiosmtpd calls these. DATA is the moment between the arrival of the message and its 250.

    async def handle_EHLO(self, server, session, envelope, hostname, responses):
        await self._pause("EHLO")
        session.host_name = hostname
        return responses

    async def handle_MAIL(self, server, session, envelope, address, options):
        await self._pause("MAIL")
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(self, server, session, envelope, address, options):
        await self._pause("RCPT")
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        await self._pause("DATA")
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        self.tls_used.add(server.transport.get_extra_info("ssl_object") is not None)
        with self._lock:
            for recipient in envelope.rcpt_tos:
                self._mails.append(Mail(envelope.mail_from, recipient, message))
        return "250 OK"

    async def _pause(self, command: str) -> None:
        if self._hold_at == command:
            self._held.set()
            # Until the client disconnects: aiosmtpd then cancels this.
            await asyncio.Event().wait()

    def _options(self, protection: str, certificate: trustme.LeafCert | None) -> dict:
        if protection == PLAIN:
            return {}
        assert certificate, "TLS needs a certificate"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        if protection == SMTPS:
            return {"ssl_context": context}
        if protection == OFFERED:
            return {"tls_context": context}
        options = {"tls_context": context, "require_starttls": True}
        if protection == STARTTLS_AUTH:
            options |= {"authenticator": self._authenticate, "auth_required": True}
        return options

    def _authenticate(self, server, session, envelope, mechanism, data) -> AuthResult:
        known = LoginPassword(USER.encode(), PASSWORD.encode())
        self.logins.append(mechanism)
        # handled=False makes aiosmtpd send the rejection itself.
        return AuthResult(success=data == known, handled=False)
