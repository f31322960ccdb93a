import numpy as np
import pytest
import torch

from sklearn_ae import AutoencoderTransformer

MANY, FEW = 128, 127
X = np.random.default_rng(0).normal(size=(1_029, 4)) @ np.triu(np.ones((4, 4)))


@pytest.fixture(scope="module")
def ae():
    return AutoencoderTransformer(2, max_iter=5, random_state=0).fit(X[:100])


# On some processors the last bit of a float64 depends on the rows beside it.
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-15)]
)
def test_a_rows_result_is_the_same_with_few_rows_and_with_many(ae, dtype, tolerance):
    together = X[:MANY].astype(dtype)
    parts = together[:FEW], together[FEW:]
    for method in (ae.transform, ae.reconstruct, ae.score_samples):
        np.testing.assert_allclose(
            method(together),
            np.concatenate([method(part) for part in parts]),
            rtol=tolerance,
            atol=tolerance,
        )


def test_equal_rows_have_one_score(ae):
    for n in (MANY, 1_025, 1_029):
        assert len(np.unique(ae.score_samples(np.tile(X[:1], (n, 1))))) == 1


@pytest.mark.parametrize("n", [FEW, MANY])
def test_rows_whose_code_is_past_all_range_are_refused(n):
    ae = AutoencoderTransformer(2, max_iter=5, random_state=0).fit(X[:100])
    # In range before and after scaling, but not when added up.
    rows = np.full((n, 4), 3e38, np.float32)
    assert np.isfinite(ae._inference.columns.transform(rows)).all()
    with pytest.raises(ValueError, match=r"Row 0 of X .* Column 0 has 3e\+38"):
        ae.transform(rows)


def test_rows_stay_as_they_are(ae):
    rows = X.copy()
    rows.flags.writeable = False
    ae.reconstruct(rows)
    assert torch.equal(torch.tensor(rows), torch.from_numpy(X))
