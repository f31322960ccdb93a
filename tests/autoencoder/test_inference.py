import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from sklearn_ae import AutoencoderTransformer
from sklearn_ae.autoencoder._inference import MIN_ROWS_FOR_NUMPY

MANY, FEW = MIN_ROWS_FOR_NUMPY, MIN_ROWS_FOR_NUMPY - 1
X = np.random.default_rng(0).normal(size=(1_029, 4)) @ np.triu(np.ones((4, 4)))


@pytest.fixture(scope="module")
def ae():
    return AutoencoderTransformer(2, max_iter=5, random_state=0).fit(X[:100])


# On some processors the last bit of a float64 is a matter of the rows beside it.
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


@pytest.mark.parametrize(("n", "expected"), [(FEW, 2), (MANY, 1)])
def test_blas_is_held_to_one_thread_for_numpys_products(ae, n, expected, monkeypatch):
    def threads():
        return {p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas"}

    def spy(rows):
        seen.update(threads())
        return scale(rows)

    seen, scale = set(), ae._inference.columns.transform
    monkeypatch.setattr(ae._inference.columns, "transform", spy)
    with threadpool_limits(2, user_api="blas"):
        ae.transform(X[:n].astype(np.float32))
        assert threads() == {2}
    assert seen == {expected}


@pytest.mark.parametrize("n", [FEW, MANY])
def test_rows_past_all_range_are_coded_in_silence(n):
    ae = AutoencoderTransformer(2, max_iter=5, random_state=0).fit(X[:100])
    # In range before and after scaling, but not when added up.
    rows = np.full((n, 4), 3e38, np.float32)
    assert np.isfinite(ae._inference.columns.transform(rows)).all()
    assert not np.isfinite(ae.transform(rows)).all()


def test_rows_stay_as_they_are(ae):
    rows = X.copy()
    rows.flags.writeable = False
    ae.reconstruct(rows)
    assert torch.equal(torch.tensor(rows), torch.from_numpy(X))
