"""constraints.txt and pyproject.toml agree: what is installed is what was tried."""

import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([A-Za-z0-9.]+)$")


def pins() -> dict[str, str]:
    """Project name -> exact version. A line that is neither a pin nor a comment fails here."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    matches = [PIN.match(line) for line in lines if line and not line.startswith("#")]
    assert all(matches), "constraints.txt holds a line that is not name==version"
    return {canonicalize_name(match[1]): match[2] for match in matches if match}


def declared() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"].values()
    lines = [*project["build-system"]["requires"], *project["project"]["dependencies"]]
    return [Requirement(line) for line in [*lines, *(line for extra in extras for line in extra)]]


def needed(requirement: Requirement) -> Iterator[Requirement]:
    """What this requirement brings along here, one step deep."""
    for line in requires(requirement.name) or []:
        child = Requirement(line)
        environments = [{"extra": extra} for extra in ("", *requirement.extras)]
        if child.marker is None or any(child.marker.evaluate(env) for env in environments):
            yield child


def closure() -> dict[str, Requirement]:
    """Everything that the project, its demo and its tests need, directly or not."""
    found: dict[str, Requirement] = {}
    waiting = declared()
    while waiting:
        requirement = waiting.pop()
        key = f"{canonicalize_name(requirement.name)}[{','.join(sorted(requirement.extras))}]"
        if key not in found:
            found[key] = requirement
            waiting += needed(requirement)
    return found


def test_every_exact_version_is_inside_its_range() -> None:
    exact = pins()
    for requirement in declared():
        version = exact[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{requirement} forbids {version}"


def test_everything_that_gets_installed_has_an_exact_version() -> None:
    names = {canonicalize_name(requirement.name) for requirement in closure().values()}
    assert names - pins().keys() == set()


def test_nothing_is_pinned_that_nothing_needs() -> None:
    names = {canonicalize_name(requirement.name) for requirement in closure().values()}
    assert pins().keys() - names == set()


def test_every_direct_dependency_has_a_lower_bound_and_none_is_listed_twice() -> None:
    requirements = [requirement for requirement in declared() if requirement.name != "hatchling"]
    names = [canonicalize_name(requirement.name) for requirement in requirements]
    assert len(names) == len(set(names))
    for requirement in requirements:
        assert any(part.operator == ">=" for part in requirement.specifier), requirement
