"""Links, images and install commands of the documentation."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

import ser
from ser.audio.recording import Fault
from ser.preparation.manifest import Reason

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted(ROOT.glob("docs/**/*.md")),
    *sorted(ROOT.glob("benchmarks/*.md")),
]
LINK = re.compile(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def without_code(text: str) -> str:
    return re.sub(r"```.*?```", "", text, flags=re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", without_code(page.read_text()), re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page):
    for groups in LINK.findall(without_code(page.read_text())):
        link = "".join(groups)
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_page_can_be_found(page):
    if page.parent.name in ("docs", "benchmarks") and page.name != "index.md":
        linked = (ROOT / "README.md").read_text() + "".join(
            other.read_text() for other in ROOT.glob("docs/*.md") if other != page
        )
        assert page.name in linked


def test_every_reason_for_dropping_a_file_is_explained():
    explained = re.findall(
        r"^\| (`[a-z_`, ]+`) \|", (ROOT / "docs/data.md").read_text(), re.MULTILINE
    )
    names = {name for cell in explained for name in re.findall(r"[a-z_]+", cell)}
    assert {*map(str, Reason), *map(str, Fault)} <= names


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 200


def test_install_commands_name_no_package_of_others():
    """`ser` on PyPI is an unrelated project."""
    found = subprocess.run(
        [
            "git",
            "grep",
            "-nE",
            r"(pip|uv) (install|add)[^`]*['\" ]ser(\[|['\" ]|$)",
            "--",
            ":!tests",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert found.stdout == ""


def test_every_extra_is_documented():
    table = (
        (ROOT / "docs" / "install.md").read_text().partition("| extra |")[2].partition("\n\n")[0]
    )
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert set(re.findall(r"`(\w+)`", " ".join(cells))) == set(PROJECT["optional-dependencies"]) - {
        "dev"
    }


def test_documented_extras_exist():
    named = {
        extra for page in PAGES for extra in re.findall(r"the\s+extra `(\w+)`", page.read_text())
    }
    assert named <= set(PROJECT["optional-dependencies"])


def test_the_citation_names_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == ser.__version__
    assert citation["title"].partition(":")[0] == PROJECT["name"]
    assert citation["license"] == PROJECT["license"]
