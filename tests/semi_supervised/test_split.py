"""Cross-validation with few labels: labelled rows are tested on, all others trained."""

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    LeaveOneOut,
    ShuffleSplit,
    StratifiedKFold,
    cross_val_score,
)

from sklearn_ae import (
    AutoencoderClassifier,
    AutoencoderRegressor,
    AutoencoderTransformer,
    SemiSupervisedSplit,
)

X, Y = load_iris(return_X_y=True)
LABELLED = np.random.default_rng(0).random(150) < 0.1
FEW = np.where(LABELLED, Y, -1)
SHORT = AutoencoderTransformer(2, max_iter=2)
CLASSIFIER = AutoencoderClassifier(SHORT, fine_tune=False, random_state=0)


@pytest.mark.parametrize("cv", [3, KFold(4, shuffle=True, random_state=0)])
@pytest.mark.parametrize(
    "y",
    [
        FEW,
        np.where(LABELLED, Y, np.nan),
        pd.Series(Y, dtype="Int64").where(LABELLED),
        [int(c) if has else None for c, has in zip(Y, LABELLED, strict=True)],
    ],
)
def test_each_label_is_tested_once_and_other_rows_always_train(cv, y):
    tested = []
    split = SemiSupervisedSplit(cv)
    for train, test in split.split(X, y):
        assert np.union1d(train, test).tolist() == list(range(150))
        assert not np.isin(train, test).any()
        assert np.isin(np.flatnonzero(~LABELLED), train).all()
        tested.extend(test)
    assert sorted(tested) == np.flatnonzero(LABELLED).tolist()
    assert split.get_n_splits(X, y) == split.get_n_splits() == (3 if cv == 3 else 4)


def test_labels_are_split_as_without_the_other_rows():
    rows = np.flatnonzero(LABELLED)
    expected = [rows[test] for _, test in StratifiedKFold(3).split(rows, Y[rows])]
    found = [test for _, test in SemiSupervisedSplit(3).split(X, FEW)]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_splitters_with_groups_or_their_number_of_folds():
    groups = np.arange(150) % 5
    folds = list(SemiSupervisedSplit(GroupKFold(3)).split(X, FEW, groups))
    for train, test in folds:
        trained = groups[train[LABELLED[train]]]
        assert not np.isin(groups[test], trained).any()
    n = SemiSupervisedSplit(GroupKFold(3)).get_n_splits(X, FEW, groups)
    assert n == len(folds) == 3
    assert SemiSupervisedSplit(LeaveOneOut()).get_n_splits(X, FEW) == LABELLED.sum()
    half = SemiSupervisedSplit(ShuffleSplit(1, test_size=3, train_size=3))
    ((train, test),) = half.split(X, FEW)
    # Labels that the splitter puts nowhere are not trained on.
    assert (LABELLED[train].sum(), len(test)) == (3, 3)
    assert np.isin(np.flatnonzero(~LABELLED), train).all()


@pytest.mark.parametrize("scoring", [None, "accuracy", "neg_log_loss", "roc_auc_ovr"])
def test_any_scoring_is_that_of_labelled_rows(scoring):
    # Chance is 1/3, log(3) and 1/2; with -1 as a class all but a tenth are errors.
    cv = SemiSupervisedSplit(3)
    scores = cross_val_score(
        CLASSIFIER, X, FEW, cv=cv, scoring=scoring, error_score="raise"
    )
    assert scores.mean() > (-0.6 if scoring == "neg_log_loss" else 0.75)


def test_a_search_with_one_label_in_twenty():
    few = pd.Series(Y, dtype="Int64").where(np.arange(150) % 19 == 0)
    few = few.astype("category")
    assert few.value_counts().tolist() == [3, 3, 2]
    grid = GridSearchCV(
        CLASSIFIER,
        {"autoencoder__n_components": [1, 2]},
        cv=SemiSupervisedSplit(2),
        scoring="accuracy",
        error_score="raise",
    ).fit(X, few)
    assert grid.best_score_ > 0.7
    assert grid.best_estimator_.score(X, Y) > 0.7


def test_numbers():
    y = np.where(np.arange(150) % 4 == 0, X[:, 2] - 4, np.nan)
    y[0] = -1
    cv = SemiSupervisedSplit(KFold(3, shuffle=True, random_state=0), missing_label=None)
    assert sum(len(test) for _, test in cv.split(X, y)) == 38
    regressor = AutoencoderRegressor(SHORT, fine_tune=False, random_state=0)
    for scoring in (None, "r2"):
        scores = cross_val_score(regressor, X, y, cv=cv, scoring=scoring)
        assert scores.min() > 0.7


def test_wrong_input():
    with pytest.raises(ValueError, match="no labels to test on"):
        next(SemiSupervisedSplit().split(X, np.full(150, -1)))
    with pytest.raises(ValueError, match="greater than the number of samples"):
        next(SemiSupervisedSplit().split([0, 1, 2], [0, 1, None]))
    with pytest.raises(ValueError, match="'missing_label' parameter"):
        next(SemiSupervisedSplit(missing_label=0).split(X, Y))
    with pytest.raises(ValueError, match="Expected `cv`"):
        next(SemiSupervisedSplit("folds").split(X, Y))
    assert repr(SemiSupervisedSplit(3)) == (
        "SemiSupervisedSplit(cv=3, missing_label='auto')"
    )


def test_numbers_that_are_no_classes_have_minus_one_among_them():
    y = np.repeat([-1.0, 0.0, 1.0, 2.5, 3.5], 6)
    tested = [test for _, test in SemiSupervisedSplit(KFold(3)).split(y[:, None], y)]
    np.testing.assert_array_equal(np.sort(np.concatenate(tested)), np.arange(30))


def test_rows_that_a_splitter_repeats_are_repeated():
    y, train, test = np.array([0, 1, -1, 0, 1]), [0, 0, 1], [2, 3]
    ((rows, tested),) = SemiSupervisedSplit([(train, test)]).split(y[:, None], y)
    # The splitter's indices count labelled rows; all without a label are added.
    np.testing.assert_array_equal(rows, [0, 0, 1, 2])
    np.testing.assert_array_equal(tested, [3, 4])
