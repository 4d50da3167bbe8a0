"""The chart, rendered by the real helm."""

from __future__ import annotations

import functools
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[3]
# `helm/`, or the packed chart of a release.
CHART = REPOSITORY / "helm"
if package := os.environ.get("CHART_PACKAGE"):
    _unpacked = tempfile.TemporaryDirectory()
    subprocess.run(["tar", "-xzf", package, "-C", _unpacked.name], check=True)
    CHART = Path(_unpacked.name) / "contact-service"
EXAMPLES = {path.stem: path for path in sorted((CHART / "examples").glob("*.yaml"))}
RELEASE = "contact-service"
NAMESPACE = "contact"

Values = dict[str, Any]
Document = dict[str, Any]


class _UniqueKeys(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Rejects duplicate keys, of which YAML would silently drop all values but one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = {key for key in keys if keys.count(key) > 1}
        assert not twice, f"{node.start_mark}: duplicate key {twice}"
        return super().construct_mapping(node, deep)


class Manifests(list[Document]):
    """The manifests of a release, including hooks and tests."""

    def all(self, kind: str) -> list[Document]:
        return [document for document in self if document["kind"] == kind]

    def one(self, kind: str, suffix: str = "") -> Document:
        """Returns the only manifest of its kind, or the one whose name has this suffix."""
        found = [each for each in self.all(kind) if each["metadata"]["name"] == RELEASE + suffix]
        assert len(found) == 1, f"{len(found)} {kind} {RELEASE}{suffix}"
        return found[0]

    def pod_templates(self) -> dict[str, Document]:
        """Returns the pod templates by kind and name."""
        templates = {}
        for document in self:
            name = f"{document['kind']}/{document['metadata']['name']}"
            if document["kind"] == "Pod":
                templates[name] = document
            elif "template" in document.get("spec", {}):
                templates[name] = document["spec"]["template"]
        return templates

    @property
    def server(self) -> Document:
        """The specification of the server's pods."""
        return self.one("Deployment")["spec"]["template"]["spec"]

    @property
    def settings(self) -> dict[str, str]:
        """The settings of the server."""
        return self.one("ConfigMap")["data"]


def helm(*arguments: str, values: Values | None = None) -> subprocess.CompletedProcess[str]:
    """Runs helm; `values` have the highest precedence. Results are cached."""
    return _helm(arguments, None if values is None else yaml.safe_dump(values))


@functools.cache
def _helm(arguments: tuple[str, ...], values: str | None) -> subprocess.CompletedProcess[str]:
    program = os.environ.get("CHART_HELM")
    assert program, "CHART_HELM is not set: run scripts/test --only chart"
    given = [] if values is None else ["--values", "-"]
    return subprocess.run(
        [program, *arguments, *given],
        input=values,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def template(
    example: str | None = "minimal", values: Values | None = None, release: str = RELEASE
) -> subprocess.CompletedProcess[str]:
    """Renders an example, or the defaults, with changed `values`."""
    return helm(
        *("template", release, str(CHART), "--namespace", NAMESPACE),
        *(("--values", str(EXAMPLES[example])) if example else ()),
        values=values,
    )


def render(
    example: str | None = "minimal", values: Values | None = None, release: str = RELEASE
) -> Manifests:
    """Returns the manifests of an example, or of the defaults, with changed `values`."""
    rendered = template(example, values, release)
    assert rendered.returncode == 0, rendered.stderr
    documents = yaml.load_all(rendered.stdout, _UniqueKeys)
    return Manifests(document for document in documents if document)


def rejection(example: str = "minimal", values: Values | None = None) -> str:
    """Returns helm's error for invalid values."""
    rendered = template(example, values)
    assert rendered.returncode != 0, f"accepted: {values}"
    return rendered.stderr


def nested(path: str, value: Any) -> Values:
    """Returns values with a single entry, as in `nested("tls.existingSecret", "x")`."""
    for name in reversed(path.split(".")):
        value = {name: value}
    return value


def default_values() -> Values:
    return yaml.load((CHART / "values.yaml").read_text(), _UniqueKeys)
