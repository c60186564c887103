"""constraints.txt and pyproject.toml agree: what is installed is what was tried."""

import re
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([A-Za-z0-9.]+)$")
BENCH = "# For the extra `bench` alone.\n"


def parts() -> tuple[dict[str, str], dict[str, str]]:
    """Project name -> exact version: of what is always installed here, and of what only the benchmarks need.

    A line that is neither a pin nor a comment fails here.
    """
    always, bench = (ROOT / "constraints.txt").read_text(encoding="utf-8").split(BENCH)
    return pins_in(always), pins_in(bench)


def pins_in(text: str) -> dict[str, str]:
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    matches = [PIN.match(line) for line in lines]
    assert all(matches), "constraints.txt holds a line that is not name==version"
    return {canonicalize_name(match[1]): match[2] for match in matches if match}


def declared(*, bench: bool) -> list[Requirement]:
    """What the extra `bench` names, or what everything else does."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"]
    of_bench = extras.pop("bench")
    always = [*project["build-system"]["requires"], *project["project"]["dependencies"]]
    always += [line for extra in extras.values() for line in extra]
    return [Requirement(line) for line in (of_bench if bench else always)]


def bench_is_installed() -> bool:
    try:
        return all(version(requirement.name) for requirement in declared(bench=True))
    except PackageNotFoundError:
        return False


def needed(requirement: Requirement) -> Iterator[Requirement]:
    """What this requirement brings along here, one step deep."""
    for line in requires(requirement.name) or []:
        child = Requirement(line)
        environments = [{"extra": extra} for extra in ("", *requirement.extras)]
        if child.marker is None or any(child.marker.evaluate(env) for env in environments):
            yield child


def closure(roots: Iterable[Requirement]) -> set[str]:
    """The names of everything that these need, directly or not."""
    found: dict[str, Requirement] = {}
    waiting = list(roots)
    while waiting:
        requirement = waiting.pop()
        key = f"{canonicalize_name(requirement.name)}[{','.join(sorted(requirement.extras))}]"
        if key not in found:
            found[key] = requirement
            waiting += needed(requirement)
    return {canonicalize_name(requirement.name) for requirement in found.values()}


def test_every_exact_version_is_inside_its_range() -> None:
    for exact, bench in zip(parts(), (False, True), strict=True):
        for requirement in declared(bench=bench):
            pinned = exact[canonicalize_name(requirement.name)]
            assert requirement.specifier.contains(pinned), f"{requirement} forbids {pinned}"


def test_what_the_project_installs_and_what_has_an_exact_version_are_the_same() -> None:
    always, _ = parts()
    assert closure(declared(bench=False)) == always.keys()


def test_the_same_holds_for_what_only_the_benchmarks_need() -> None:
    always, bench = parts()
    assert always.keys() & bench.keys() == set()
    if bench_is_installed():
        assert closure(declared(bench=True)) - always.keys() == bench.keys()


def test_every_direct_dependency_has_a_lower_bound_and_none_is_listed_twice() -> None:
    everything = [*declared(bench=False), *declared(bench=True)]
    requirements = [requirement for requirement in everything if requirement.name != "hatchling"]
    names = [canonicalize_name(requirement.name) for requirement in requirements]
    assert len(names) == len(set(names))
    for requirement in requirements:
        assert any(part.operator == ">=" for part in requirement.specifier), requirement
