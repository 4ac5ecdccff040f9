"""The package imports only what its requirements install."""

import ast
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

SRC = Path(__file__).parents[2] / "src"
FOR_DEVELOPMENT = {"dev", "docs"}


def imported_packages() -> set[str]:
    found = set()
    for path in SRC.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {each.name.partition(".")[0] for each in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                found.add(node.module.partition(".")[0])
    return found - set(sys.stdlib_module_names) - {"ser"}


@cache
def requirements(name: str) -> list[Requirement]:
    try:
        return [Requirement(each) for each in requires(name) or []]
    except PackageNotFoundError:  # of an extra that the tests do not need
        return []


def installed_with(project: str, extra: str = "") -> set[str]:
    """The distributions that a project installs, those without a local copy included."""
    found: set[str] = set()
    open_ends = [(project, extra)]
    while open_ends:
        name, extra = open_ends.pop()
        for each in requirements(name):
            if each.marker is None or each.marker.evaluate({"extra": extra}):
                known = canonicalize_name(each.name)
                if known not in found:
                    found.add(known)
                    open_ends += [(known, extra) for extra in ("", *each.extras)]
    return found


def test_each_import_is_of_a_required_package():
    project = "speech-emotion"
    extras = {
        str(marker).partition('extra == "')[2].partition('"')[0]
        for each in requirements(project)
        if "extra ==" in str(marker := each.marker)
    } - FOR_DEVELOPMENT
    required = installed_with(project)
    for extra in extras:
        required |= installed_with(project, extra)
    distributions = packages_distributions()
    unknown = {
        package
        for package in imported_packages()
        if not {canonicalize_name(each) for each in distributions.get(package, [])} & required
        and canonicalize_name(package) not in required
    }
    assert unknown - {"pynvml"} == set()  # of nvidia-ml-py, in the extra "energy"
