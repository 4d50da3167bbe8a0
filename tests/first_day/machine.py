"""The bare Debian: mounts, packages, and the shells of its user."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from support.processes import Failed

USER = "newcomer"
HOME = f"/home/{USER}"
CHECKOUT = f"{HOME}/contact-service"
TOOLCHAIN = "/opt/rust"
# Without an answer, packages would ask for a time zone.
AS_ROOT = {"DEBIAN_FRONTEND": "noninteractive", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
# Settings of this machine with which tools reach their registries.
REGISTRY_SETTINGS = (
    "http_proxy https_proxy no_proxy CARGO_HTTP_CAINFO PIP_CERT PIP_INDEX_URL NODE_EXTRA_CA_CERTS "
    "NPM_CONFIG_REGISTRY"
).split()


class Machine:
    """A root file system. Its mounts are those of the process's namespace, and end with it."""

    def __init__(self, root: Path, toolchain: str, cache: str) -> None:
        self.root = root
        self.has_toolchain = bool(toolchain)
        _run("mount", "--make-rprivate", "/")
        _run("mount", "-t", "proc", "proc", root / "proc")
        _run("mount", "--rbind", "/dev", root / "dev")
        if toolchain:
            self._mount_toolchain(Path(toolchain))
        if cache:
            self._mount(f"{cache}/cargo", f"{HOME}/.cargo")
            self._mount(f"{cache}/target", f"{CHECKOUT}/target")
            self.as_root("chown", f"{USER}:{USER}", f"{HOME}/.cargo", f"{CHECKOUT}/target")
        self.as_root("apt-get", "-qq", "update")

    def shell(self) -> list[str]:
        """Returns the command of a login shell of the user."""
        own = {"HOME": HOME, "USER": USER, "TERM": "xterm-256color"}
        taken = {name: os.environ[name] for name in REGISTRY_SETTINGS if name in os.environ}
        settings = [f"{name}={value}" for name, value in {**taken, **own}.items()]
        # Not exec: readline would echo what is typed.
        shell = ["bash", "--login", "--noediting", "-i"]
        inside = ["env", f"--chdir={CHECKOUT}", "-i", *settings, *shell]
        return ["chroot", f"--userspec={USER}:{USER}", str(self.root), *inside]

    def install(self, command: str) -> str:
        """Runs an `apt install` of a page; returns its output."""
        words = command.partition("#")[0].split()
        return self.as_root("apt-get", "-y", *words[words.index("install") :])

    def as_root(self, *command: str) -> str:
        return _run(
            "chroot", self.root, "env", "-i", *(f"{n}={v}" for n, v in AS_ROOT.items()), *command
        )

    def _mount(self, source: str | Path, target: str) -> None:
        _run("mount", "--bind", source, f"{self.root}{target}")

    def _mount_toolchain(self, toolchain: Path) -> None:
        (self.root / TOOLCHAIN[1:]).mkdir()
        self._mount(toolchain, TOOLCHAIN)
        _run("mount", "-o", "remount,bind,ro", f"{self.root}{TOOLCHAIN}")
        for program in (toolchain / "bin").iterdir():
            (self.root / "usr/local/bin" / program.name).symlink_to(
                f"{TOOLCHAIN}/bin/{program.name}"
            )


def _run(*command: str | Path) -> str:
    ended = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if ended.returncode != 0:
        raise Failed(f"{' '.join(map(str, command))}: {ended.stdout}")
    return ended.stdout
