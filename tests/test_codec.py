import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from sklearn_ae import AutoencoderTransformer
from sklearn_ae._codec import MIN_ROWS_FOR_NUMPY

MANY, FEW = MIN_ROWS_FOR_NUMPY, MIN_ROWS_FOR_NUMPY - 1
X = np.random.default_rng(0).normal(size=(1_029, 4)) @ np.triu(np.ones((4, 4)))


@pytest.fixture(scope="module")
def ae():
    return AutoencoderTransformer(2, max_iter=5, random_state=0).fit(X[:100])


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 0)])
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

    seen, scale = set(), ae._codec.columns.transform
    monkeypatch.setattr(ae._codec.columns, "transform", spy)
    with threadpool_limits(2, user_api="blas"):
        ae.transform(X[:n].astype(np.float32))
        assert threads() == {2}
    assert seen == {expected}


@pytest.mark.parametrize("n", [FEW, MANY])
def test_rows_past_all_range_are_coded_in_silence(n):
    narrow = np.array([1, 1e-4, 1, 1])  # Its cells meet weights of ten thousand.
    ae = AutoencoderTransformer(2, scale=None, max_iter=5, random_state=0)
    ae.fit(X[:100] * narrow)
    rows = np.zeros((n, 4), np.float32)
    rows[:, 1] = 1e36
    assert not np.isfinite(ae.transform(rows)).any()


def test_rows_stay_as_they_are(ae):
    rows = X.copy()
    rows.flags.writeable = False
    ae.reconstruct(rows)
    assert torch.equal(torch.tensor(rows), torch.from_numpy(X))
