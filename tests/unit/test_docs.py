"""What README and the block's help say is what the code does."""

from __future__ import annotations

import re
import runpy
from dataclasses import asdict
from pathlib import Path
from pkgutil import resolve_name

import pytest
import yaml

from tests.install_lines import ImageRecipe, InstallLines, dockerfile_steps, pip_lines
from vision_event_block.settings import Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
OPERATING = (ROOT / "docs/operating.md").read_text(encoding="utf-8")
DEPLOY = (ROOT / "deploy/README.md").read_text(encoding="utf-8")
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("[!.]*/*.md")]


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_documented_with_its_default_and_meaning(name):
    field = Settings.model_fields[name]
    default = "unset" if field.default is None else f"{field.default:g}"
    if isinstance(field.default, int):
        default = str(field.default)

    row = f"| `VISION_EVENT_{name.upper()}` | {default} | {field.description.rstrip('.')} |"

    assert row in OPERATING


def test_no_setting_is_documented_that_does_not_exist():
    documented = set(re.findall(r"`VISION_EVENT_([A-Z_]+)[`=]", README + OPERATING))

    assert documented == {name.upper() for name in Settings.model_fields}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?://)([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_each_make_target_of_the_readme_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert set(re.findall(r"^make ([a-z-]+)", README, re.MULTILINE)) <= targets


def test_every_line_that_installs_is_one_that_the_release_check_runs():
    checked = {*asdict(InstallLines.read(README)).values(), ImageRecipe.read(DEPLOY).build_wheels}

    lines = set().union(*(pip_lines(page.read_text(encoding="utf-8")) for page in PAGES))

    assert lines - checked == set()
    assert len(lines) > 5


def test_a_line_that_the_release_check_does_not_know_is_found():
    more = README.replace("| `make install` |", "| `make install` |\n| a wish | `pip install it` |")

    with pytest.raises(ValueError, match="a wish"):
        InstallLines.read(more)


def test_the_image_is_built_from_a_dockerfile_that_takes_the_wheel_from_its_context():
    recipe = ImageRecipe.read(DEPLOY)

    steps = dockerfile_steps((ROOT / recipe.dockerfile).read_text(encoding="utf-8"))

    assert [step.instruction for step in steps] == ["ARG", "FROM", "COPY", "RUN", "ENV", "VOLUME"]
    server = dockerfile_steps((ROOT / "deploy/server.Dockerfile").read_text(encoding="utf-8"))
    assert [step.instruction for step in server][-2:] == ["ENTRYPOINT", "CMD"]
    assert f"--wheel-dir {recipe.context} " in recipe.build_wheels


def test_no_message_installs_by_a_name_that_no_index_knows():
    for path in (ROOT / "vision_event_block").rglob("*.py"):
        assert not re.search(r"pip install .{,2}vision", path.read_text(encoding="utf-8")), path


def test_the_tables_of_fields_are_those_of_the_manifests():
    pages = runpy.run_path(str(ROOT / "docs/fields.py"))["pages"]()

    for page, expected in pages.items():
        assert page.read_text(encoding="utf-8") == expected, page.name
    assert "| `lost_after_seconds` | `2` |" in pages[ROOT / "docs/track-events.md"]
    assert "| `cooldown_seconds` | `1` |" in README


def test_each_difference_from_the_official_block_has_its_test():
    page = (ROOT / "docs/official-block.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (?!---|\| )(.*) \|$", page, re.MULTILINE)
    tests = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))

    assert len(rows) > 20
    for row in rows:
        name = re.search(r"`(test_\w+)`$", row)
        assert name, f"no test stands beside: {row}"
        assert f"def {name[1]}(" in tests, name[1]


def test_each_module_that_the_architecture_names_exists():
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    package = [path.relative_to(ROOT).as_posix() for path in ROOT.glob("vision_event_block/**/*")]
    named = re.findall(r"`([\w/]+(?:\.py|/))`", page)

    assert len(named) > 50
    for name in named:
        place = f"/{name.rstrip('/')}"
        assert any(f"/{path}".endswith(place) for path in [*package, "docs/states.py"]), name


def test_on_a_package_index_no_link_leads_nowhere_and_with_an_address_each_leads_to_its_file():
    build = runpy.run_path(str(ROOT / "hatch_build.py"))
    relative = r"\]\((?!https?://)"

    plain = build["description"](README, "", "v1")
    linked = build["description"](README, "https://forge.example/team/it", "v1")

    assert re.search(relative, README)
    assert not re.search(relative, plain)
    assert not re.search(relative, linked)
    assert "docs/performance.md has the figures" in plain
    assert "](https://forge.example/team/it/blob/v1/docs/performance.md)" in linked
    assert "](https://forge.example/team/it/raw/v1/docs/images/grid.png)" in linked
    for path in re.findall(r"/(?:blob|raw)/v1/([^)#]+)", linked):
        assert (ROOT / path).exists(), path
    assert build["urls"]("") == {}
    assert build["urls"]("https://forge.example/team/it")["Issues"].endswith("/team/it/issues")


def test_the_site_shows_every_document():
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[2]
    pages = {page.relative_to(ROOT).as_posix() for page in PAGES}

    assert set(re.findall(r"[\w./-]+\.md", nav)) == pages


def test_each_name_that_the_api_page_documents_exists():
    page = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    names = re.findall(r"^::: (\S+)$", page, re.MULTILINE)

    assert len(names) > 5
    for name in names:
        assert resolve_name(name)
    for example in re.findall(r"^from (\S+) import (.+)$", page, re.MULTILINE):
        for name in example[1].split(", "):
            assert resolve_name(f"{example[0]}.{name}")


@pytest.mark.parametrize("workflow", sorted((ROOT / ".github/workflows").glob("*.yml")))
def test_each_make_target_of_a_workflow_exists(workflow):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    jobs = yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"]
    called = set()
    for job in jobs.values():
        called |= set(job.get("strategy", {}).get("matrix", {}).get("target", ()))
        for step in job["steps"]:
            called |= set(re.findall(r"^make ([a-z-]+)", step.get("run", ""), re.MULTILINE))

    assert called
    assert called <= targets
