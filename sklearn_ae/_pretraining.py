"""What predictors here share: an autoencoder of all rows, a head for the labelled."""

import copy
import math
from typing import NamedTuple

import numpy as np
import torch
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    clone,
)
from sklearn.callback import CallbackSupportMixin
from sklearn.frozen import FrozenEstimator
from sklearn.neighbors import NearestNeighbors
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import (
    _check_sample_weight,
    check_consistent_length,
    check_is_fitted,
    validate_data,
)

from sklearn_ae._codec import Codec
from sklearn_ae._data import LabelledRows, merge_equal_rows
from sklearn_ae._head_net import HeadNet
from sklearn_ae._net import Run
from sklearn_ae._parameters import CONSTRAINTS
from sklearn_ae._start import n_held_out
from sklearn_ae._torch_state import (
    few_threads,
    gradients,
    own_randomness,
    random_generator,
    resolve_device,
    torch_generator,
)
from sklearn_ae._transformer import AutoencoderTransformer
from sklearn_ae.nn import Head, cost, early_layers, freeze, thaw

# Of the autoencoder, where none is given: a linear head loses nothing that matters by
# the variance that is left out; twice the noise teaches more where columns hang
# together, and costs where they don't; small weights make a network that goes on
# learning.
PRETRAINING = {"n_components": 0.99, "corruption_level": 0.5, "alpha": 1.0}
# Of fine-tuning: mini-batches of an iteration, rows of each kind in one.
N_BATCHES, BATCH_SIZE, LEARNING_RATE = 25, 64, 0.003
# Labelled rows held out: by fewer nothing can be told, and the encoder stays as it is.
MIN_JUDGES = 10
# Rows whose nearest neighbour is looked for.
MAX_QUERIES = 1_000
# Of columns that have one unit, the shares whose highest value is the highest of all,
# and that have more than two values.
AT_THE_TOP, NOT_BINARY = 0.5, 0.9

PREDICTOR_CONSTRAINTS: dict = {
    "autoencoder": [AutoencoderTransformer, FrozenEstimator, None],
    **{name: CONSTRAINTS[name] for name in ("architecture", "input_shape")},
    "fine_tune": ["boolean", *CONSTRAINTS["batch_size"][1:]],
    "consistency_weight": CONSTRAINTS["alpha"],
    **{
        name: CONSTRAINTS[name]
        for name in (
            "alpha",
            "batch_size",
            "learning_rate_init",
            "tol",
            "early_stopping",
            "validation_fraction",
            "n_iter_no_change",
            "device",
            "random_state",
            "verbose",
        )
    },
    "max_iter": CONSTRAINTS["max_iter"][1:],
}


class _PretrainedPredictor(
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    CallbackSupportMixin,
    BaseEstimator,
):
    """Phase 1, an autoencoder; phase 2, a head on its encoder, and both fine-tuned.

    A subclass has ``_linear_head(Z, target, weight)``, ``_criterion(target, weight)``,
    ``_in_batches(target)`` and ``_judges(target, n)``.
    """

    # -- phase 1 -----------------------------------------------------------------

    def _checked(self, X, y, sample_weight, *, reset):
        X = validate_data(
            self,
            X,
            dtype=[np.float64, np.float32],
            reset=reset,
            ensure_min_samples=2 if reset else 1,
        )
        if y is not None:
            check_consistent_length(X, y)
        if sample_weight is None:
            return X, np.ones(len(X))
        return X, _check_sample_weight(
            sample_weight, X, dtype=np.float64, ensure_non_negative=True
        )

    def _start_random(self, *, cold):
        """Draws that a failing call does not use up; at a cold start, nothing else."""
        if cold:
            for name in ("_net", "_codec"):
                vars(self).pop(name, None)
            self._random = random_generator(self.random_state)
        else:
            self._random = copy.deepcopy(self._random)

    def _pretrained(self, X, weight, context=None):
        """The autoencoder that is given, if it is fitted; else one of all rows."""
        given = self._given()
        if hasattr(given, "module_"):
            self._refuse_other_columns(given)
            return given
        new = self._default(X) if given is None else clone(given)
        new.set_params(random_state=self._draw_seed())
        if context is None:
            return new.fit(X, sample_weight=weight)
        task = context.subcontext(task_name="pretraining")
        with task.propagate_callback_context(new):
            return new.fit(X, sample_weight=weight)

    def _given(self):
        given, is_frozen = self.autoencoder, False
        if isinstance(given, FrozenEstimator):
            given, is_frozen = given.estimator, True
        if given is None:
            return None
        if not isinstance(given, AutoencoderTransformer):
            raise TypeError(
                "autoencoder must be an AutoencoderTransformer, bare or in a "
                f"FrozenEstimator, got {self.autoencoder!r}."
            )
        if (self.architecture, self.input_shape) != ("mlp", None):
            raise ValueError(
                f"architecture={self.architecture!r} and input_shape="
                f"{self.input_shape!r} only describe the default autoencoder, but "
                "autoencoder is given: set them in it instead."
            )
        if is_frozen and not hasattr(given, "module_"):
            raise ValueError(
                "autoencoder is a FrozenEstimator, which nothing fits, of an "
                "AutoencoderTransformer that is not fitted: fit it first."
            )
        return given

    def _default(self, X):
        return AutoencoderTransformer(
            architecture=self.architecture,
            input_shape=self.input_shape,
            scale=None if have_one_unit(X) else "auto",
            device=self.device,
            verbose=self.verbose,
            **PRETRAINING,
        )

    def _refuse_other_columns(self, autoencoder):
        if autoencoder.n_features_in_ != self.n_features_in_:
            raise ValueError(
                f"autoencoder was fitted to {autoencoder.n_features_in_} columns, but "
                f"X has {self.n_features_in_} features."
            )
        theirs = getattr(autoencoder, "feature_names_in_", None)
        ours = getattr(self, "feature_names_in_", None)
        both = theirs is not None and ours is not None
        if both and not np.array_equal(theirs, ours):
            raise ValueError(
                f"autoencoder was fitted to the columns {list(theirs)}, but those of X "
                f"are {list(ours)}."
            )

    # -- phase 2 -----------------------------------------------------------------

    def _learn(self, labelled, unlabelled, tasks):
        """A head on the autoencoder's encoder, both fine-tuned if that is better."""
        codec = self.autoencoder_._codec
        self._take(codec, self._head_on(codec, labelled))
        self.loss_curve_, self.validation_curve_, self.best_loss_ = [], [], np.nan
        held_out = self._held_out(labelled)
        if held_out is None or self.autoencoder_._net.was_interrupted:
            return
        net, judged = self._tuned(labelled, unlabelled, held_out, tasks)
        if judged is not None:
            self.validation_curve_ = net.validation_curve_
            self.best_loss_ = net.best_loss_
        if not net.has_moved:
            return
        vars(self).update(self._fitted(net, judged), _net=net)
        # Of few labels those held out are many: what is better is learnt from all.
        share = math.ceil(self.validation_fraction * len(labelled.X))
        if len(held_out) > share and not net.was_interrupted:
            net, _ = self._tuned(labelled, unlabelled, held_out[:0], tasks)
            if not net.was_interrupted:
                vars(self).update(self._fitted(net, None), _net=net)

    def _tuned(self, labelled, unlabelled, held_out, tasks):
        """A net trained on the labelled rows but those held out, and these, if any."""
        seen = labelled.part(np.setdiff1d(np.arange(len(labelled.X)), held_out))
        codec = self.autoencoder_._codec
        net = self._net_of(codec, self._head_on(codec, seen), labelled, unlabelled)
        judged = self._rows(net, labelled.part(held_out)) if len(held_out) else None
        everything = self._everything(net, labelled, unlabelled)
        self._train(net, self._rows(net, seen), judged, everything, tasks)
        thaw(net.module_)
        self.loss_curve_ = [*self.loss_curve_, *net.loss_curve_]
        return net, judged

    def _held_out(self, labelled):
        """Labelled rows to judge by; None if the encoder is to stay as it is."""
        if not self.fine_tune:
            return None
        if not self.early_stopping:
            return np.zeros(0, dtype=np.intp)
        n = n_held_out(len(labelled.X), self.validation_fraction)
        rows = self._judges(labelled.target, n)
        return rows if len(rows) >= MIN_JUDGES else None

    def _head_on(self, codec, rows):
        """Weights (n_outputs, n_components) and intercepts of a linear head."""
        return self._linear_head(codec.encode(rows.X), rows.target, rows.weight)

    def _net_of(self, codec, head, labelled, unlabelled):
        """A net at its start: the autoencoder's encoder and a linear head."""
        matrix = codec.columns.matrix(np.concatenate([labelled.X, unlabelled.X]))
        module = Head(
            copy.deepcopy(codec.module.encoder), *(torch.from_numpy(p) for p in head)
        )
        criterion = self._criterion(labelled.target, labelled.weight)
        net = HeadNet(
            module,
            lambda: criterion,
            radius=half_way_to_the_next(matrix),
            consistency_weight=float(self.consistency_weight),
            width=cost(codec.module, matrix.shape[1]).width,
            device=resolve_device(self.device),
            optimizer__weight_decay=self.alpha,
        )
        freeze(early_layers(module.encoder, self.fine_tune))
        net.initialize()
        # What is pickled once is module_, and no lambda.
        net.module, net.criterion = Head, type(criterion)
        return net

    def _rows(self, net, rows):
        """Labelled rows as tensors."""
        return self._tensors(net, rows._replace(target=self._in_batches(rows.target)))

    def _everything(self, net, labelled, unlabelled):
        """All rows as tensors, and whether each lacks a label."""
        both = zip(labelled, unlabelled, strict=True)
        X, weight = (np.concatenate(parts) for parts in list(both)[:2])
        lacks = np.arange(len(X)) >= len(labelled.X)
        return self._tensors(net, MergedRows(X, weight, lacks.astype(np.float32)))

    def _tensors(self, net, rows):
        scaled = rows._replace(X=self.autoencoder_._columns.matrix(rows.X))
        return LabelledRows(*(torch.from_numpy(t).to(net.device) for t in scaled))

    def _train(self, net, rows, judged, everything, tasks):
        """Train by the budget or, without tasks, on each labelled row once."""
        run = self._run(len(rows), once=tasks is None)
        flops = 6 * run.batch_size * self._n_multiplications()
        with few_threads(flops), gradients(), own_randomness(self._random, net.device):
            net.train(rows, judged, run, tasks, everything)

    def _n_multiplications(self):
        module = self.autoencoder_.module_
        return cost(module, self.n_features_in_).n_multiplications

    def _run(self, n_rows, *, once):
        size = BATCH_SIZE if self.batch_size == "auto" else self.batch_size
        rate = self.learning_rate_init
        rate = LEARNING_RATE if rate == "auto" else rate
        return Run(
            n_iterations=1 if once else self.max_iter,
            max_batches=-(-n_rows // size) if once else N_BATCHES,
            batch_size=size,
            # A constant rate has no decay to end on.
            learning_rate=rate / 10 if once else rate,
            schedule=not once,
            shuffle=True,
            patience=self.n_iter_no_change,
            tol=self.tol,
            cautious=True,
            verbose=bool(self.verbose),
            generator=torch_generator(self._random),
            robust=False,
            repeat=not once,
        )

    def _fitted(self, net, judged):
        """Attributes of an estimator that stops training where ``net`` is now."""
        module = copy.deepcopy(self.autoencoder_.module_)
        encoder = copy.deepcopy(net.module_.encoder)
        module.encoder = encoder.to(module.noise_variance.device)
        thaw(module)
        old = self.autoencoder_._codec
        linear = net.module_.linear
        head = (p.detach().double().cpu().numpy() for p in linear.parameters())
        return {
            "_codec": Codec(old.columns, module, old.objective, old.prior),
            "_head": tuple(part.copy() for part in head),
        }

    def _take(self, codec, head):
        self._codec, self._head = codec, head

    def _learn_once(self, labelled, unlabelled):
        """One pass over the labelled rows of a batch, at a constant rate."""
        if not hasattr(self, "_codec"):
            codec = self.autoencoder_._codec
            self._take(codec, self._head_on(codec, labelled))
            self.loss_curve_, self.validation_curve_ = [], []
        if hasattr(self, "_net"):
            net = copy.deepcopy(self._net)
            freeze(early_layers(net.module_.encoder, self.fine_tune))
            net.initialize_optimizer()
        else:
            net = self._net_of(self._codec, self._head, labelled, unlabelled)
        everything = self._everything(net, labelled, unlabelled)
        self._train(net, self._rows(net, labelled), None, everything, None)
        vars(self).update(self._fitted(net, None), _net=net, best_loss_=np.nan)
        self.loss_curve_ = [*self.loss_curve_, *net.loss_curve_]
        thaw(net.module_)

    def _draw_seed(self):
        return int(self._random.randint(np.iinfo(np.int32).max))

    # -- inference ---------------------------------------------------------------

    @property
    def n_iter_(self):
        """Iterations of both phases."""
        return self.autoencoder_.n_iter_ + len(self.loss_curve_)

    def transform(self, X):
        """Encode the rows of X, by the encoder as it was fine-tuned.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows in input units.

        Returns
        -------
        X_new : ndarray of shape (n_samples, n_components), or as ``set_output`` says
            Codes: float32 for float32, else float64.
        """
        X = self._check(X)
        return self._codec.encode(X)

    def _outputs(self, X):
        """Outputs (n, n_outputs) of the head, float64."""
        X = self._check(X)
        coef, intercept = self._head
        return self._codec.encode(X).astype(np.float64) @ coef.T + intercept

    def _check(self, X):
        check_is_fitted(self, "autoencoder_")
        return validate_data(self, X, dtype=[np.float64, np.float32], reset=False)

    @property
    def _n_features_out(self):
        return self._codec.module.n_components

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


class MergedRows(NamedTuple):
    """Distinct rows (n, d), their weights (n,) and, of labelled ones, targets (n,)."""

    X: np.ndarray
    weight: np.ndarray
    target: np.ndarray | None = None

    def part(self, rows):
        """Some of the labelled rows."""
        return MergedRows(*(part[rows] for part in self))


def merged(X, target, labelled, weight, seed):
    """Labelled and unlabelled rows, equal ones merged, in an order that is theirs."""
    rows = np.flatnonzero(labelled & (weight > 0))
    if not len(rows):
        raise ValueError(
            "No row of X has a label and a sample_weight above zero: there is nothing "
            "to learn to predict."
        )
    both = np.column_stack([X[rows], target[rows]])
    some, mass = merge_equal_rows(both, weight[rows], seed)
    with_label = MergedRows(X[rows[some]], mass, target[rows[some]])
    others = np.flatnonzero(~labelled & (weight > 0))
    if not len(others):
        return with_label, MergedRows(X[:0], np.ones(0))
    some, mass = merge_equal_rows(X[others], weight[others], seed)
    return with_label, MergedRows(X[others[some]], mass)


def some_rows(rows, *tables):
    """Some rows of each table, of whatever kind; of None, None."""
    return [None if t is None else _safe_indexing(t, rows) for t in tables]


def have_one_unit(X):
    """Whether the columns are measured in one unit, as the pixels of a picture are.

    Told by their ranges: all that vary have the same lowest value, half or more the
    same highest, and nine in ten have more than two values.
    """
    low, high = X.min(axis=0), X.max(axis=0)
    varies = low < high
    if varies.sum() < 2:
        return False
    at_the_top = high[varies] == high[varies].max()
    inner = ((low < X) & (high > X)).any(axis=0)[varies]
    same_low = (low[varies] == low[varies][0]).all()
    return bool(
        same_low and at_the_top.mean() >= AT_THE_TOP and inner.mean() >= NOT_BINARY
    )


def half_way_to_the_next(matrix):
    """Half of the usual distance (Euclidean) from a row to its nearest neighbour.

    Balls of that radius around rows seldom overlap: within one, what is known of the
    row is not at odds with what is known of others.
    """
    queries = matrix[:: max(1, len(matrix) // MAX_QUERIES)]
    n = min(2, len(matrix))
    distance = NearestNeighbors(n_neighbors=n).fit(matrix).kneighbors(queries)[0]
    return float(np.median(distance[:, -1])) / 2
