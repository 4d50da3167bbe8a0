"""The documentation of the chart and its alerts matches them."""

from __future__ import annotations

import re
import subprocess

import psycopg
import pytest
import yaml

from support.chart.manifests import CHART, EXAMPLES, REPOSITORY, nested, render
from support.chart.metrics import Exposed, alert_rules
from support.chart.pods import Cluster
from support.chart.promql import Selector
from support.chart.values_table import rows, table, table_in_readme

RUNBOOKS = REPOSITORY / "docs/operations/runbooks.md"
LIMITS = REPOSITORY / "docs/operations/client-limits.md"
LINK = re.compile(r"\]\((?!https?://)([^)#]*)(?:#([^)]*))?\)")
CODE = re.compile(r"^( *)```.*?^\1```|`[^`\n]*`", re.MULTILINE | re.DOTALL)


def sections() -> dict[str, str]:
    """Returns title and text of every runbook."""
    parts = re.split(r"^## (\w+)\n", RUNBOOKS.read_text(), flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2]))


def sql() -> list[str]:
    blocks = re.findall(r"^```sql\n(.*?)^```", RUNBOOKS.read_text(), re.MULTILINE | re.DOTALL)
    return [statement for block in blocks for statement in re.split(r";\s*", block) if statement]


def test_readme_table_matches_the_values():
    assert (
        table_in_readme() == table()
    ), "run: cd tests && python -m support.chart.values_table"


def test_every_value_has_a_description():
    assert len(list(rows())) > 120
    for path, _, description in rows():
        assert len(description) > 2 and "|" not in description, path


def test_chart_has_the_version_of_the_service():
    cargo = (REPOSITORY / "Cargo.toml").read_text()
    version = re.search(r'^version = "(.*)"', cargo, re.MULTILINE)
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert version and chart["appVersion"] == version[1]


def test_every_alert_links_to_its_runbook():
    base = "https://git.example.com/contact-service/docs/operations/runbooks.md#"
    anchors = {rule["alert"]: rule["annotations"]["runbook_url"] for rule in alert_rules()}
    assert anchors == {title: base + title.lower() for title in sections()}
    moved = render(
        "production", nested("metrics.prometheusRule.runbookUrl", "https://wiki.example/x")
    )
    for rule in moved.one("PrometheusRule")["spec"]["groups"][0]["rules"]:
        assert (
            rule["annotations"]["runbook_url"] == f"https://wiki.example/x#{rule['alert'].lower()}"
        )


@pytest.mark.parametrize("alert", sections())
def test_runbooks_have_meaning_diagnosis_and_remedy(alert):
    text = sections()[alert]
    assert all(f"**{part}:**" in text for part in ("Means", "Look", "Do"))
    assert re.search(r"kubectl|```sql|`(contact|rpc|db)_\w+|]\(#", text.partition("**Look:**")[2])


def test_runbooks_name_existing_metrics(live_metrics: Exposed):
    known = set(live_metrics) | {Selector(name, []).metric for name in live_metrics}
    labels = {label for values in live_metrics.values() for label in values}
    # SQL contains columns.
    text = re.sub(r"^```sql\n.*?^```", "", RUNBOOKS.read_text(), flags=re.MULTILINE | re.DOTALL)
    # Log targets are paths, which are not metrics.
    named = set(re.findall(r"\b(?:contact|rpc|db_client)_\w+\b(?!::)", text))
    assert len(named) > 10 and named <= known | labels, named - known - labels


def test_runbook_sql_runs_on_the_schema(database_url, tmp_path):
    manifests = render()
    migration = manifests.one("Job", "-migrate")["spec"]["template"]["spec"]
    migrated = Cluster(tmp_path, manifests, database_url).container(migration).run()
    assert migrated.returncode == 0, migrated.stderr
    server, _, search_path = database_url.partition("?options[search_path]=")
    statements = sql()
    assert len(statements) > 10
    with psycopg.connect(server, options=f"-c search_path={search_path}") as connection:
        for statement in statements:
            connection.execute(statement)
        connection.rollback()


def test_every_alert_on_a_limit_exists():
    named = set(re.findall(r"ContactService[A-Z]\w+", LIMITS.read_text()))
    assert "ContactServiceClientLimits" in named
    assert named <= set(sections()) | {"ContactService"}


def pages() -> list[str]:
    """The pages of the repository, without copies of other projects."""
    command = ["git", "ls-files", "*.md", ":!third_party"]
    listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return listed.stdout.splitlines()


def anchors(page: str) -> set[str]:
    """The anchors of a page's headings, as GitHub and mdBook make them."""
    headings = re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    words = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {each.strip().replace(" ", "-") for each in words}


@pytest.mark.parametrize("page", pages())
def test_links_resolve(page):
    file = REPOSITORY / page
    for path, anchor in LINK.findall(CODE.sub("", file.read_text())):
        target = (file.parent / path).resolve() if path else file
        assert target.exists(), path
        assert not anchor or anchor in anchors(target.read_text()), f"{path}#{anchor}"


@pytest.mark.parametrize("page", pages())
def test_pages_name_existing_files(page):
    folders = "benches|docs|examples|helm|proto|scripts|tests"
    named = re.findall(rf"(?<![\w/.-])(?:{folders})/[\w./-]*\w", (REPOSITORY / page).read_text())
    bases = (REPOSITORY, (REPOSITORY / page).parent)
    missing = [path for path in named if not any((base / path).exists() for base in bases)]
    assert not missing


def test_summary_of_the_book_names_every_page():
    docs = REPOSITORY / "docs"
    named = set(re.findall(r"\]\(([^)]+\.md)\)", (docs / "SUMMARY.md").read_text()))
    pages_of_docs = {str(file.relative_to(docs)) for file in docs.rglob("*.md")}
    assert named == pages_of_docs - {"SUMMARY.md"}


def test_pages_name_existing_values_and_examples():
    known = {path for path, _, _ in rows()}
    named, examples = set(), set()
    for page in pages():
        text = (REPOSITORY / page).read_text()
        named |= set(re.findall(r"--set(?:-string)? '?([a-z]\w*[.][\w.]+)=", text))
        examples |= set(re.findall(r"--values (?:\./)?(helm/\S+\.yaml)", text))
    assert len(named) > 3 and named <= known, named - known
    assert examples and all((REPOSITORY / example).exists() for example in examples), examples


def test_readme_shows_every_example():
    text = (CHART / "README.md").read_text()
    for example in EXAMPLES:
        assert f"(examples/{example}.yaml)" in text


def test_minimal_example_commands_create_its_secrets():
    text = EXAMPLES["minimal"].read_text()
    made = [part.split(maxsplit=1) for part in text.split("create secret generic ")[1:]]
    keys = {
        (name, key) for name, rest in made for key in re.findall(r"--from-literal=(\w+)=", rest)
    }
    pod = render().server
    [secrets] = [volume for volume in pod["volumes"] if volume["name"] == "secrets"]
    used = {
        (source["secret"]["name"], item["key"])
        for source in secrets["projected"]["sources"]
        for item in source["secret"]["items"]
    }
    assert keys == used


def test_chart_files_are_short():
    files = subprocess.run(
        ["find", str(CHART), str(RUNBOOKS), "-type", "f"],
        capture_output=True,
        text=True,
        check=True,
    )
    for file in files.stdout.split():
        with open(file, encoding="utf-8") as lines:
            assert sum(1 for _ in lines) <= 500, file
