"""The files of `deploy/`, read by the tools that they are for, and the steps in them run.

Nothing of it is started here as a plant starts it, for there is no container engine and no systemd.
So everything in it that can be run is run, and every name in it must be one that exists.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import promql_parser
import pytest
import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.server.conftest import running
from tests.integration.server.serve_process import ServeProcess
from tests.tools import missing
from vision_event_block.delivery.metrics import OutboxCollector
from vision_event_block.outbox.outbox import Outbox

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
TOOLS = ROOT / ".venv/tools/deploy/bin"
UNITS = sorted((DEPLOY / "systemd").iterdir())
#: What a family's samples are called beside its own name.
SUFFIXES = {
    "counter": ("_total",),
    "gauge": ("",),
    "histogram": ("_bucket", "_count", "_sum"),
    "summary": ("_count", "_sum"),
}


def tool(name):
    found = shutil.which(name, path=f"{TOOLS}:{os.environ['PATH']}")
    return found or missing(f"{name} (tests/tools.sh)")


def passes(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def program(command):
    """A command in the environment of the tests, as the one in a file of `deploy/` names it."""
    return [str(Path(sys.executable).with_name(Path(command[0]).name)), *command[1:]]


@pytest.mark.parametrize("dockerfile", sorted(DEPLOY.glob("*.Dockerfile")), ids=lambda it: it.stem)
def test_hadolint_finds_nothing_in_a_dockerfile(dockerfile):
    passes(tool("hadolint"), str(dockerfile))


def resolved_compose(tmp_path):
    (tmp_path / "env").write_text(
        "ROBOFLOW_API_KEY=rf_a_key_of_the_cloud\nPAGE_KEY=a-key-for-people\n"
    )
    compose = tool("docker-compose")
    files = ["--env-file", str(tmp_path / "env"), "--file", str(DEPLOY / "compose.yaml")]
    return json.loads(passes(compose, *files, "config", "--format", "json"))


def test_compose_resolves_its_file_and_each_file_and_volume_in_it_exists(tmp_path):
    services = resolved_compose(tmp_path)["services"]

    assert {mount["source"] for service in services.values() for mount in service["volumes"]} == {
        "outbox",
        "models",
        "events",
    }
    for service in services.values():
        build = service["build"]
        assert (Path(build["context"]) / build["dockerfile"]).resolve().is_file()
        assert all(port["host_ip"] == "127.0.0.1" for port in service["ports"])
    outbox = next(it for it in services["host"]["volumes"] if it["source"] == "outbox")
    assert f"VISION_EVENT_OUTBOX={outbox['target']}" in (DEPLOY / "host.Dockerfile").read_text()
    [events] = services["relay"]["volumes"]
    assert f"XDG_DATA_HOME={events['target']}" in (DEPLOY / "server.Dockerfile").read_text()


def test_compose_refuses_to_start_without_its_keys(tmp_path):
    (tmp_path / "env").write_text("ROBOFLOW_API_KEY=rf\n")
    files = ["--env-file", str(tmp_path / "env"), "--file", str(DEPLOY / "compose.yaml")]

    done = subprocess.run(
        [tool("docker-compose"), *files, "config"], capture_output=True, text=True, check=False
    )

    assert done.returncode != 0
    assert "PAGE_KEY" in done.stderr


def test_the_host_and_a_person_of_the_compose_file_are_let_in_by_its_relay(tmp_path):
    services = resolved_compose(tmp_path)["services"]
    keys = services["relay"]["environment"]["VISION_EVENT_API_KEYS"].split()
    host_key = services["host"]["environment"]["ROBOFLOW_API_KEY"]

    with running(tmp_path / "data", keys=keys) as server:

        def status(key):
            headers = {"Authorization": f"Bearer {key}"}
            body = {"eventType": "custom", "useCaseId": server.new_use_case()}
            written = server.post("/vision-events", json=body, headers=headers).status_code
            return written, server.get("/metrics", headers=headers).status_code

        assert status(host_key) == (201, 403)
        assert status("a-key-for-people") == (201, 200)
        assert server.get("/health").status_code == 200


@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("compose-spec", "deploy/compose.yaml"),
        ("github-workflows", ".github/workflows/*.yml"),
        ("github-issue-forms", ".github/ISSUE_TEMPLATE/[!c]*.yml"),
        ("github-issue-config", ".github/ISSUE_TEMPLATE/config.yml"),
    ],
)
def test_a_file_keeps_the_schema_of_whoever_reads_it(schema, files):
    found = [str(path) for path in ROOT.glob(files)]
    passes(tool("check-jsonschema"), "--builtin-schema", f"vendor.{schema}", *found)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_verifies_a_unit(unit, tmp_path):
    analyze = tool("systemd-analyze")
    for each in UNITS:
        text = each.read_text()
        (tmp_path / each.name).write_text(
            text.replace("/opt/vision-events/bin", str(Path(sys.executable).parent))
        )

    passes(analyze, "verify", "--recursive-errors=yes", str(tmp_path / unit.name))

    if unit.suffix == ".service":
        passes(analyze, "security", "--offline=true", "--threshold=25", str(unit))


def unit_settings(name):
    lines = (DEPLOY / "systemd" / name).read_text().splitlines()
    return [tuple(line.split("=", 1)) for line in lines if "=" in line and line[0] not in "#;"]


def test_the_server_starts_as_its_unit_says_and_ends_in_time_when_systemd_asks(tmp_path):
    found = dict(unit_settings("vision-events-server.service"))
    command = found["ExecStart"].replace("/var/lib/vision-events", str(tmp_path / "data"))
    words = program(shlex.split(command.replace("$SERVE_OPTIONS", "--port 0 --log-format text")))
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        printed = ""
        while "Ctrl-C" not in printed:
            printed += process.stdout.readline() or pytest.fail(printed)
        assert ServeProcess(process, printed).get("/health").json()["status"] == "ok"
    finally:
        process.terminate()
        assert process.wait(int(found["TimeoutStopSec"])) == 0
        process.communicate()
    assert (tmp_path / "data/vision-events.db").is_file()


def test_the_drain_runs_as_its_unit_says(tmp_path):
    found = dict(unit_settings("vision-events-drain.service"))
    outbox = tmp_path / "outbox"
    Outbox(outbox).close()  # of a host that has ended

    said = passes(
        *program(shlex.split(found["ExecStart"])),
        env={**os.environ, "VISION_EVENT_OUTBOX": str(outbox), "ROBOFLOW_API_KEY": "rf_key"},
    )

    assert said == "Nothing to send.\n"


def test_promtool_takes_rules_and_configuration_and_each_alert_comes_when_it_should(tmp_path):
    promtool = tool("promtool")
    for name in ("alerts.yml", "prometheus.yml"):
        shutil.copy(DEPLOY / "prometheus" / name, tmp_path)
    shutil.copy(ROOT / "tests/deploy/alerts_test.yml", tmp_path)

    passes(promtool, "check", "rules", "alerts.yml", cwd=tmp_path)
    passes(promtool, "check", "config", "--syntax-only", "prometheus.yml", cwd=tmp_path)
    passes(promtool, "test", "rules", "alerts_test.yml", cwd=tmp_path)


def test_each_alert_is_one_that_the_tests_of_the_rules_see_come():
    groups = yaml.safe_load((DEPLOY / "prometheus/alerts.yml").read_text())["groups"]
    named = {rule["alert"] for group in groups for rule in group["rules"]}

    tested = re.findall(r'alertname="(\w+)"', (ROOT / "tests/deploy/alerts_test.yml").read_text())

    assert named == set(tested)


def expressions():
    groups = yaml.safe_load((DEPLOY / "prometheus/alerts.yml").read_text())["groups"]
    found = {rule["alert"]: rule["expr"] for group in groups for rule in group["rules"]}
    panels = json.loads((DEPLOY / "grafana/vision-events.json").read_text())["panels"]
    for panel in panels:
        for target in panel.get("targets", ()):
            found[f"{panel['title']} {target['refId']}"] = target["expr"]
    return found


def selectors(node):
    """All selectors of a parsed expression."""
    if isinstance(node, promql_parser.VectorSelector):
        return [node]
    parts = [getattr(node, name, None) for name in ("expr", "lhs", "rhs", "vector_selector")]
    parts += list(getattr(node, "args", None) or ())
    return [found for part in parts if part is not None for found in selectors(part)]


@pytest.fixture(scope="module")
def metrics(tmp_path_factory):
    """The names of all samples that a host, a server or a relay may show."""
    folder = tmp_path_factory.mktemp("metrics")
    registry = CollectorRegistry()
    registry.register(OutboxCollector(folder))
    with running(folder / "server") as server:
        server.get("/health")
        text = server.get("/metrics").text
        families = [*registry.collect(), *text_string_to_metric_families(text)]
    named = {f"{each.name}{suffix}" for each in families for suffix in SUFFIXES[each.type]}
    return named | {"up"}  # Prometheus's own


@pytest.mark.parametrize(("where", "expression"), expressions().items(), ids=expressions())
def test_each_metric_that_dashboard_and_alerts_name_exists(metrics, where, expression):
    parsed = promql_parser.parse(expression.replace("$instance", ".*"))

    named = {selector.name for selector in selectors(parsed)}

    assert named, where
    assert named <= metrics


def test_a_metric_that_does_not_exist_is_found(metrics):
    parsed = promql_parser.parse("time() - max by (a) (rate(vision_events_nothing_total[5m]) / up)")

    assert {it.name for it in selectors(parsed)} - metrics == {"vision_events_nothing_total"}
