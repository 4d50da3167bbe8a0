"""gRPC over TLS, client certificates, and renewed certificates."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from pathlib import Path

import grpc
import pytest
import trustme

from support.contacts import Contacts
from support.database import Database
from support.polling import until
from support.service import Service

NAME = "127.0.0.1"


class Files:
    """The certificate files of the service, rewritten as a secret's volume would be."""

    def __init__(self, folder: Path) -> None:
        self.cert, self.key = folder / "tls.crt", folder / "tls.key"
        self.client_ca = folder / "ca.crt"

    def write(
        self, of_server: trustme.CA, of_callers: trustme.CA, expires: datetime | None = None
    ) -> None:
        cert = of_server.issue_cert(NAME, not_after=expires)
        # One after the other: a temporary mismatch must do no harm.
        self.cert.write_bytes(b"".join(blob.bytes() for blob in cert.cert_chain_pems))
        self.key.write_bytes(cert.private_key_pem.bytes())
        self.client_ca.write_bytes(of_callers.cert_pem.bytes())

    def settings(self, mutual: bool) -> dict[str, str]:
        settings = {"TLS_CERT": str(self.cert), "TLS_KEY": str(self.key)}
        return settings | ({"TLS_CLIENT_CA": str(self.client_ca)} if mutual else {})


def credentials(trusted: trustme.CA, issuer: trustme.CA | None = None) -> grpc.ChannelCredentials:
    """Credentials that trust one authority and present a certificate of another."""
    roots = trusted.cert_pem.bytes()
    if issuer is None:
        return grpc.ssl_channel_credentials(roots)
    cert = issuer.issue_cert("caller.example")
    chain = b"".join(blob.bytes() for blob in cert.cert_chain_pems)
    return grpc.ssl_channel_credentials(roots, cert.private_key_pem.bytes(), chain)


def is_served(service: Service, with_credentials: grpc.ChannelCredentials | None) -> bool:
    client = service.connect(with_credentials)
    try:
        return bool(client.create_customer())
    except grpc.RpcError as refused:
        print(refused.details())
        # No response at all: there is no connection.
        assert refused.code() == grpc.StatusCode.UNAVAILABLE, refused
        assert not refused.trailing_metadata(), refused
        return False
    finally:
        client.close()


def start(tmp_path: Path, database: Database, files: Files, mutual: bool) -> Service:
    return Service(tmp_path, database, **files.settings(mutual))


def test_only_tls_connections_are_served(tmp_path: Path, database: Database) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    files = Files(tmp_path)
    files.write(authority, authority)
    with start(tmp_path, database, files, mutual=False) as service:
        service.credentials = credentials(authority)
        service.start()
        assert is_served(service, credentials(authority))
        assert not is_served(service, credentials(stranger))
        assert not is_served(service, None)
        # If a certificate is for other names, this machine connects under another name.
        service.run("healthcheck")
        service.stop()


def test_metric_has_the_expiry_of_the_current_certificate(
    tmp_path: Path, database: Database
) -> None:
    authority, files = trustme.CA(), Files(tmp_path)

    def has_expiry(service: Service, expires: datetime) -> bool:
        metrics = service.monitoring("/metrics")[1]
        name = "contact_tls_certificate_expiry_timestamp_seconds"
        (value,) = re.findall(rf"^{name} (\S+)", metrics, re.MULTILINE)
        return float(value) == expires.timestamp()

    expires = datetime(2037, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
    files.write(authority, authority, expires)
    with start(tmp_path, database, files, mutual=False) as service:
        service.credentials = credentials(authority)
        service.start()
        assert has_expiry(service, expires)
        renewed = expires.replace(month=6)
        files.write(authority, authority, renewed)
        until(lambda: has_expiry(service, renewed), "the expiry of the renewed certificate")
        service.stop()


def test_client_ca_requires_client_certificates(
    tmp_path: Path, database: Database
) -> None:
    of_server, of_callers = trustme.CA(), trustme.CA()
    files = Files(tmp_path)
    files.write(of_server, of_callers)
    with start(tmp_path, database, files, mutual=True) as service:
        service.credentials = credentials(of_server, of_callers)
        service.start()
        assert is_served(service, credentials(of_server, of_callers))
        assert not is_served(service, credentials(of_server))
        assert not is_served(service, credentials(of_server, of_server))
        service.stop()


def test_changed_files_are_used_and_invalid_ones_ignored(
    tmp_path: Path, database: Database
) -> None:
    before, after = trustme.CA(), trustme.CA()
    files = Files(tmp_path)
    files.write(before, before)
    with start(tmp_path, database, files, mutual=True) as service:
        service.credentials = credentials(before, before)
        kept: Contacts = service.start()
        files.key.write_text("no key")
        service.wait_for_log("TLS_KEY: contains no private key in PEM format")
        assert is_served(service, credentials(before, before))
        files.write(after, after)
        until(lambda: is_served(service, credentials(after, after)), "the new certificate")
        assert not is_served(service, credentials(before, before))
        # An open connection stays.
        assert kept.create_customer()
        service.stop()


@pytest.mark.parametrize(
    ("setting", "content", "line"),
    [
        ("TLS_CERT", None, "TLS_CERT: {path} cannot be read"),
        ("TLS_CERT", "no cert", "TLS_CERT: contains no certificate in PEM format"),
        ("TLS_KEY", "no key", "TLS_KEY: contains no private key in PEM format"),
        ("TLS_KEY", "other", "TLS_KEY: does not match TLS_CERT"),
        ("TLS_CLIENT_CA", "", "TLS_CLIENT_CA: contains no certificate in PEM format"),
    ],
)
def test_invalid_file_is_named_at_startup(
    tmp_path: Path, setting: str, content: str | None, line: str
) -> None:
    files = Files(tmp_path)
    files.write(trustme.CA(), trustme.CA())
    path = Path(files.settings(mutual=True)[setting])
    if content is None:
        path.unlink()
    elif content == "other":
        path.write_bytes(trustme.CA().issue_cert(NAME).private_key_pem.bytes())
    else:
        path.write_text(content)
    with start(tmp_path, Database("sqlite", tmp_path), files, mutual=True) as service:
        with pytest.raises(AssertionError, match="ended at once"):
            service.start()
        assert line.format(path=path) in service.log
