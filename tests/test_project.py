"""The project's own files say what is true."""

import os
import re
import tomllib
from pathlib import Path

import pytest

import sklearn_ae

ROOT = Path(sklearn_ae.__file__).parents[1]
COMMAND = "pip install -c constraints.txt"


def read(name):
    path = ROOT / name
    if not path.exists():
        pytest.skip(f"{name} is not part of an installed package")
    return path.read_text()


def commands():
    return [line for line in read("README.md").splitlines() if line.startswith(COMMAND)]


def test_the_readme_has_two_commands_the_benchmark_and_the_tests():
    assert commands() == [
        f'{COMMAND} -e ".[bench]" && python -m benchmarks',
        f'{COMMAND} -e ".[test]" && pytest',
    ]


def test_ci_runs_the_readmes_commands_and_the_linters():
    ci = read(".ci/run")
    (pattern,) = re.findall(r"grep -E '([^']+)' README.md", ci)
    lines = read("README.md").splitlines()
    assert [line for line in lines if re.search(pattern, line)] == commands()
    assert re.search(r"-eq 2 ", ci)
    for linter in ("ruff check .", "ruff format --check .", "mypy"):
        assert linter in ci.splitlines()
    assert "set -e" in ci
    assert os.access(ROOT / ".ci/run", os.X_OK)


def names(requirements):
    return {re.match(r"[\w-]+", r).group().lower() for r in requirements}


def test_every_runtime_requirement_and_linter_is_pinned():
    project = tomllib.loads(read("pyproject.toml"))["project"]
    lines = [line for line in read("constraints.txt").splitlines() if "==" in line]
    assert names(project["dependencies"]) <= names(lines)
    linters = names(r for r in project["optional-dependencies"]["test"] if "==" in r)
    assert linters | names(lines) >= {"ruff", "mypy"}


def test_runtime_needs_only_what_the_readme_says():
    project = tomllib.loads(read("pyproject.toml"))["project"]
    runtime = {"scikit-learn", "torch", "numpy", "skorch", "pandas"}
    assert names(project["dependencies"]) == runtime


def test_the_changelog_has_the_version():
    assert re.search(
        rf"^## {re.escape(sklearn_ae.__version__)}\b", read("CHANGELOG.md"), re.M
    )


def test_contributing_is_short():
    assert len(read("CONTRIBUTING.md").splitlines()) < 50


def test_the_readmes_house_is_the_house():
    drawn = set(re.findall(r"^  ([\w/]+(?:\.py|/))  ", read("README.md"), re.M))
    package = ROOT / "sklearn_ae"
    files = {p.name for p in package.glob("*.py")} - {"__init__.py"}
    rooms = {f"{p.parent.name}/" for p in package.glob("*/__init__.py")}
    assert drawn == files | rooms
