"""Runs the processes of the chart's pods on this machine, with their files and variables.

Secrets are written where they are mounted, `$(NAME)` in variables is expanded, and the pods' ports
are ports of the loopback address.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import urllib.request
from pathlib import Path

import trustme

from ..polling import TIMEOUT_SECONDS
from ..processes import free_port
from .manifests import Document, Manifests

# The example of RFC 7517: a public key that signs no token here.
JWKS = {
    "keys": [
        {
            **{"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "1"},
            "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
            "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
        }
    ]
}
LOGO = Path(__file__).parents[1] / "logo.png"
KEYS = "1:" + base64.b64encode(bytes(range(32))).decode()


def binary() -> str:
    """Returns the binary that scripts/test found or built."""
    path = os.environ.get("CONTACT_SERVICE_BIN")
    assert path, "CONTACT_SERVICE_BIN is not set: run scripts/test --only chart"
    return path


def mounted_files(pod: Document, container: Document) -> set[str]:
    """Returns the paths of mounted Secrets and ConfigMaps in a container."""
    files = set()
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    for mount in container["volumeMounts"]:
        volume = volumes[mount["name"]]
        for source in volume.get("projected", {}).get("sources", [volume]):
            content = source.get("secret") or source.get("configMap") or {}
            for item in content.get("items", []):
                files.add(f"{mount['mountPath']}/{item['path']}")
    return files


class Cluster:
    """One release on this machine."""

    def __init__(self, folder: Path, manifests: Manifests, database_url: str) -> None:
        self.manifests = manifests
        self.folder = folder
        self.ports = {port: free_port() for port in (50051, 8080, 9090)}
        authority = trustme.CA()
        certificate = authority.issue_cert("contact-service")
        self._contents = {
            "database-url": database_url.encode(),
            "database-replica-url": database_url.encode(),
            "database-ca.crt": authority.cert_pem.bytes(),
            "service-keys": KEYS.encode(),
            "phone-pepper": KEYS.encode(),
            "smtp-url": b"smtp://127.0.0.1:1?tls=none",
            "jwks.json": json.dumps(JWKS).encode(),
            "tls.crt": certificate.cert_chain_pems[0].bytes(),
            "tls.key": certificate.private_key_pem.bytes(),
            "client-ca.crt": authority.cert_pem.bytes(),
            "ca-certificates.crt": authority.cert_pem.bytes(),
            "de/email_confirmation.subject": b"Bitte",
            "logo.png": LOGO.read_bytes(),
        }

    def container(self, pod: Document, index: int = 0, kind: str = "containers") -> Process:
        """Returns a container of a pod, ready to start."""
        container = pod[kind][index]
        for path in mounted_files(pod, container):
            file = Path(f"{self.folder}{path}")
            file.parent.mkdir(parents=True, exist_ok=True)
            name = str(file.relative_to(f"{self.folder}/etc/contact-service")).partition("/")[2]
            file.write_bytes(self._contents[name])
        return Process(self.folder, container["args"], self._environment(pod, container))

    def probe(self, pod: Document, name: str) -> Process:
        """Returns the command of a container's exec probe, which runs with its variables."""
        container = pod["containers"][0]
        [program, *arguments] = container[name]["exec"]["command"]
        assert program == "/usr/local/bin/contact-service"
        return Process(self.folder, arguments, self._environment(pod, container))

    def _environment(self, pod: Document, container: Document) -> dict[str, str]:
        environment = dict(self.manifests.settings) if container.get("envFrom") else {}
        services = self._service_variables() if pod["enableServiceLinks"] else {}
        for variable in container.get("env", []):
            expand = lambda found: services.get(found[1], found[0])  # noqa: E731
            environment[variable["name"]] = re.sub(r"\$\((\w+)\)", expand, variable["value"])
        if environment.get("JWT_JWKS", "").startswith("https://"):
            file = self.folder / "jwks.json"
            file.write_bytes(self._contents["jwks.json"])
            environment["JWT_JWKS"] = str(file)
        return {name: self._here(value) for name, value in environment.items()}

    def _service_variables(self) -> dict[str, str]:
        """Returns the variables that the kubelet sets for Services with an address."""
        services = self.manifests.all("Service")
        names = [each["metadata"]["name"] for each in services if "clusterIP" not in each["spec"]]
        return {f"{name.upper().replace('-', '_')}_SERVICE_HOST": "127.0.0.1" for name in names}

    def _here(self, value: str) -> str:
        if address := re.fullmatch(r"(?:0\.0\.0\.0|127\.0\.0\.1):(\d+)", value):
            return f"127.0.0.1:{self.ports[int(address[1])]}"
        return re.sub(r"^/(etc|var/lib)/contact-service", rf"{self.folder}\g<0>", value)

    def get(self, port: int, path: str) -> tuple[int, str]:
        """Sends an HTTP request to a port of the pod; status 0 without a response."""
        url = f"http://127.0.0.1:{self.ports[port]}{path}"
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""


class Process:
    """The process of a container."""

    def __init__(self, folder: Path, arguments: list[str], environment: dict[str, str]) -> None:
        self._folder = folder
        self._arguments = arguments
        self.environment = environment
        self._process: subprocess.Popen[str] | None = None

    def run(self) -> subprocess.CompletedProcess[str]:
        """Runs the process to its end."""
        return subprocess.run(
            [binary(), *self._arguments],
            cwd=self._folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )

    def __enter__(self) -> Process:
        self._log = (self._folder / "server.log").open("w+")
        self._process = subprocess.Popen(
            [binary(), *self._arguments],
            cwd=self._folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )
        return self

    def assert_runs(self) -> None:
        assert self._process and self._process.poll() is None, f"it ended:\n{self.log}"

    @property
    def log(self) -> str:
        return (self._folder / "server.log").read_text()

    def __exit__(self, *_: object) -> None:
        assert self._process
        self._process.kill()
        self._process.wait()
        self._log.close()
