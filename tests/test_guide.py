"""The guide names what there is, and its pictures can be drawn again."""

import importlib.util
import re
from pathlib import Path

import pytest

import sklearn_ae
from sklearn_ae import AutoencoderTransformer
from sklearn_ae.nn import CORRUPTIONS

DOCS = Path(sklearn_ae.__file__).parents[1] / "docs"
VARIANTS = ["corruption", "corruption_level", "contraction_weight"]
VARIANTS += ["sparsity", "sparsity_weight", "sparsity_target"]
VARIANTS += ["latent", "beta", "prior", "scale", "loss", "init", "noise"]


def path(name):
    if not (DOCS / name).exists():
        pytest.skip(f"docs/{name} is not part of an installed package")
    return DOCS / name


def guide():
    return path("guide.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [*VARIANTS, "n_active_components_", "score_samples"])
def test_it_names_every_parameter_of_the_variants(name):
    assert re.search(rf"`{name}\b", guide())


@pytest.mark.parametrize("kind", [*CORRUPTIONS, "kl", "l1", "normal", "mixture"])
def test_it_names_every_kind(kind):
    assert f'"{kind}"' in guide()


def test_its_table_is_of_parameters_there_are():
    head = guide().split("\n\n## ")[0]
    rows = re.findall(r"^\| [a-z]+ \| (.*?) \|", head, re.M)
    named = set(re.findall(r"`(\w+)", " ".join(rows)))
    assert {"corruption", "sparsity", "latent", "prior"} < named
    assert named <= set(AutoencoderTransformer().get_params())


def test_its_pictures_are_there():
    pictures = re.findall(r"!\[[^]]+\]\((.+?)\)", guide())
    assert sorted(pictures) == ["latent.png", "samples.png"]
    for name in pictures:
        assert 0 < (DOCS / name).stat().st_size < 150_000


def test_its_pictures_can_be_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    spec = importlib.util.spec_from_file_location("pictures", path("pictures.py"))
    pictures = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pictures)
    pictures.draw(tmp_path, max_iter=2)
    drawn = {p.name: p.read_bytes()[:4] for p in tmp_path.iterdir()}
    assert drawn == dict.fromkeys(("latent.png", "samples.png"), b"\x89PNG")
