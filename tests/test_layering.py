"""Imports between the folders of the library, and of packages."""

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import sklearn_ae

ROOT = Path(sklearn_ae.__file__).parent
TOP = {"_callbacks", "_input_shape", "_pickling", "_runtime", "_validation"}
TORCH_ONLY = {"nn", "objective"}
SHARED = {"autoencoder", "tables", "training", *TORCH_ONLY, *TOP}
# Folders, and files at the top, that each may import beside itself.
MAY_IMPORT = {
    **{name: set() for name in TOP | TORCH_ONLY},
    "tables": set(),
    "training": set(),
    "autoencoder": SHARED,
    "detection": SHARED,
    "semi_supervised": SHARED,
    "compression": SHARED,
    "metrics": {"_input_shape", "_runtime", "_validation"},
    "plots": {"_input_shape", "_validation", "metrics"},
    "__init__": {"autoencoder", "compression", "detection", "semi_supervised"},
}
# Packages that only some folders or files import.
RESERVED = {
    "skorch": {"training/_net"},
    "matplotlib": {"plots"},
    "constriction": {"compression/_entropy_coding"},
    "torch": {*TORCH_ONLY, "training", "autoencoder", "detection", "semi_supervised"}
    | {"compression", "metrics", "_pickling", "_runtime"},
    "sklearn": set(MAY_IMPORT) - TORCH_ONLY - {"_input_shape"},
}
FILES = {path.relative_to(ROOT).as_posix(): path for path in ROOT.rglob("*.py")}


def imports(name):
    """Dotted names that a file imports, wherever in it; ``from a import b`` is a.b."""
    for node in ast.walk(ast.parse(FILES[name].read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def folder(name):
    """The folder of a file, or the file itself where it is at the top."""
    return name.split("/")[0].removesuffix(".py")


@pytest.mark.parametrize("name", sorted(FILES))
def test_folders_import_what_the_table_says(name):
    ours = [i.split(".")[1] for i in imports(name) if i.startswith("sklearn_ae.")]
    assert set(ours) - {folder(name)} <= MAY_IMPORT[folder(name)]


@pytest.mark.parametrize("name", sorted(FILES))
def test_packages_are_imported_where_the_table_says(name):
    packages = {i.split(".")[0] for i in imports(name)} & set(RESERVED)
    place = {folder(name), name.removesuffix(".py")}
    assert [p for p in packages if not RESERVED[p] & place] == []
    if folder(name) in TORCH_ONLY:
        assert packages <= {"torch"}


def test_the_table_has_all_folders_and_no_others():
    assert set(MAY_IMPORT) == {folder(name) for name in FILES}
    places = {folder(n) for n in FILES} | {n.removesuffix(".py") for n in FILES}
    assert set().union(*RESERVED.values()) <= places


def test_no_circle_of_imports():
    names = {f"sklearn_ae.{n[:-3].replace('/', '.')}": n for n in FILES}
    names = {k.removesuffix(".__init__"): n for k, n in names.items()}
    below = {
        n: {
            names[i.rsplit(".", 1)[0]]
            for i in imports(n)
            if i.rsplit(".", 1)[0] in names
        }
        for n in FILES
    }
    while ground := {n for n in below if not below[n] & set(below)}:
        below = {n: b for n, b in below.items() if n not in ground}
    assert not below


def test_the_walk_sees_an_import_wherever_it_stands(tmp_path, monkeypatch):
    source = "def f():\n    import skorch.callbacks\n    from torch import nn\n"
    (tmp_path / "file.py").write_text(source)
    monkeypatch.setitem(FILES, "file.py", tmp_path / "file.py")
    assert list(imports("file.py")) == ["skorch.callbacks", "torch.nn"]


def exported(name):
    for node in ast.parse(FILES[name].read_text()).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == "__all__":
            return ast.literal_eval(node.value)
    return []


PACKAGES = sorted(name for name in FILES if name.endswith("__init__.py"))


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_exports_what_it_imports(package):
    names = [i.rsplit(".", 1)[1] for i in imports(package)]
    assert sorted(names) == sorted(set(exported(package)) - {"__version__"})


def test_public_names_are_reexported_once():
    counts = Counter(n for package in PACKAGES for n in exported(package))
    public = exported("__init__.py")
    assert [n for n, count in counts.items() if count > 1 + (n in public)] == []


def test_a_fit_brings_in_no_plotting_no_vision_and_no_compiler():
    heavy = [
        "matplotlib",
        "torchvision",
        "pandas.plotting._matplotlib",
        "polars",
        "torch._dynamo",
    ]
    code = (
        "import sys, numpy; from sklearn_ae import AutoencoderTransformer; "
        "AutoencoderTransformer(max_iter=1).fit(numpy.eye(9)); "
        f"print([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT.parent,
    )
    assert done.stdout.strip() == "[]"
