"""Which room of the library may import what."""

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import sklearn_ae

ROOT = Path(sklearn_ae.__file__).parent
TORCH_ROOMS = ["nn", "objective", "optim"]
BELOW_THE_NET = [
    "_columns",
    "_labels",
    "_shapes",
    "_normal_scores",
    "_prior",
    "_start",
    "_data",
    "_torch_state",
    "_pca",
    "_callbacks",
    "_codec",
    "_monitor",
    "_parameters",
    "_calibration",
    "_conformal",
    "_neighbors",
    "_suspicion",
    "_evidence",
    "_explanation",
    "_entropy_coding",
    "_stream",
    "_residuals",
    "_quantiser",
    "_compression",
    "_rate",
    "_fitting",
    "_codes",
    "_sampling",
    "_linear_heads",
    "_error_bound",
]
FILES = {path.relative_to(ROOT).as_posix(): path for path in ROOT.rglob("*.py")}
NETS = [
    f"sklearn_ae.{name}"
    for name in ("_net", "_autoencoder_net", "_head_net", "_rate_net")
]
ESTIMATORS = [
    "sklearn_ae._base",
    "sklearn_ae._transformer",
    "sklearn_ae._pretraining",
    "sklearn_ae._classifier",
    "sklearn_ae._regressor",
    "sklearn_ae._detection",
    "sklearn_ae._outlier_detector",
    "sklearn_ae._rate_autoencoder",
    "sklearn_ae._step",
    "sklearn_ae._compressor",
]


def imports(name):
    """Dotted names that a file imports, wherever in it; ``from a import b`` is a.b."""
    for node in ast.walk(ast.parse(FILES[name].read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def offences(name, packages):
    """Imports of a file that lie in one of the packages."""
    return [i for i in imports(name) for p in packages if f"{i}.".startswith(f"{p}.")]


def room(*names):
    """Files of the rooms that there are yet."""
    return sorted(f for f in FILES if f.split("/")[0].removesuffix(".py") in names)


@pytest.mark.parametrize("name", room(*TORCH_ROOMS))
def test_torch_rooms_know_only_torch_and_themselves(name):
    own = f"sklearn_ae.{name.split('/')[0]}"
    allowed = {"torch", *sys.stdlib_module_names}
    foreign = [i for i in imports(name) if i.split(".")[0] not in allowed]
    assert foreign == offences(name, [own])


@pytest.mark.parametrize("name", sorted(FILES))
def test_only_the_net_imports_skorch(name):
    if name == "_net.py":
        assert offences(name, ["skorch"])
    else:
        assert not offences(name, ["skorch"])


@pytest.mark.parametrize("name", room(*BELOW_THE_NET))
def test_rooms_below_the_net_do_not_know_what_is_above(name):
    above = [*NETS, "sklearn_ae.metrics", "sklearn_ae.plots", *ESTIMATORS]
    assert not offences(name, above)


@pytest.mark.parametrize(
    "name", room("_net", "_autoencoder_net", "_head_net", "_rate_net")
)
def test_the_nets_know_no_estimators(name):
    from_sklearn = offences(name, ["sklearn"])
    assert from_sklearn == offences(name, ["sklearn.exceptions"])
    assert not offences(name, ESTIMATORS)


@pytest.mark.parametrize("name", room("metrics"))
def test_metrics_do_not_know_the_estimators(name):
    assert not offences(name, [*ESTIMATORS, *NETS])


@pytest.mark.parametrize("name", room("plots"))
def test_plots_do_not_know_torch(name):
    assert not offences(name, ["torch", *(f"sklearn_ae.{r}" for r in TORCH_ROOMS)])


@pytest.mark.parametrize("name", sorted(set(FILES) - set(room("plots"))))
def test_only_plots_import_matplotlib(name):
    assert not offences(name, ["matplotlib"])


def test_the_walk_sees_an_import_wherever_it_stands(tmp_path, monkeypatch):
    source = "def f():\n    import skorch.callbacks\n    from torch import nn\n"
    (tmp_path / "file.py").write_text(source)
    monkeypatch.setitem(FILES, "file.py", tmp_path / "file.py")
    assert list(imports("file.py")) == ["skorch.callbacks", "torch.nn"]
    assert offences("file.py", ["skorch"]) == ["skorch.callbacks"]
    # "torch" is no prefix of "torchvision".
    assert not offences("file.py", ["tor"])


def exported(name):
    for node in ast.parse(FILES[name].read_text()).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == "__all__":
            return ast.literal_eval(node.value)
    return []


PACKAGES = sorted(name for name in FILES if name.endswith("__init__.py"))


def test_public_names_are_reexported_once():
    counts = Counter(n for package in PACKAGES for n in exported(package))
    assert [n for n, count in counts.items() if count > 1] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_exports_what_it_imports_from_private_files(package):
    names = [i.rsplit(".", 1) for i in imports(package)]
    assert sorted(n for _, n in names) == sorted(
        set(exported(package)) - {"__version__"}
    )
    assert all(module.split(".")[-1].startswith("_") for module, _ in names)


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
