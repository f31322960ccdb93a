"""What predictors here share: an autoencoder of all rows, a head for the labelled."""

import copy
import math
from contextlib import contextmanager

import numpy as np
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.callback import CallbackSupportMixin
from sklearn.frozen import FrozenEstimator
from sklearn.utils.validation import (
    check_consistent_length,
    check_is_fitted,
    validate_data,
)

from sklearn_ae._runtime import (
    enable_gradients,
    fork_torch_rng,
    limit_threads,
    random_generator,
    resolve_device,
    torch_generator,
)
from sklearn_ae.autoencoder._inference import CodesMixin, FittedAutoencoder
from sklearn_ae.autoencoder._parameters import CONSTRAINTS
from sklearn_ae.autoencoder._transformer import AutoencoderTransformer
from sklearn_ae.nn import Head, cost, early_layers, freeze, thaw
from sklearn_ae.semi_supervised._consistency import half_way_to_the_next
from sklearn_ae.semi_supervised._head_net import HeadNet
from sklearn_ae.semi_supervised._labels import MergedRows
from sklearn_ae.tables._column_scaler import columns_look_like_pixels
from sklearn_ae.tables._rows import checked_weight, n_held_out
from sklearn_ae.training._batches import LabelledRows
from sklearn_ae.training._net import TrainingConfig

# Of the autoencoder, where none is given: a linear head loses nothing that matters by
# the variance that is left out; small weights make a network that goes on learning.
PRETRAINING = {"n_components": 0.99, "alpha": 1.0}
# Noise teaches the more, the more columns tell of each other: those of one unit do.
NOISE, NOISE_OF_ONE_UNIT = 0.5, 1.0
# Of fine-tuning: mini-batches of an iteration, rows of each kind in one.
N_BATCHES, BATCH_SIZE, LEARNING_RATE = 25, 64, 0.003
# Labelled rows held out: by fewer nothing can be told, and the encoder stays as it is.
MIN_JUDGES = 10

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


class _PretrainedPredictor(CodesMixin, CallbackSupportMixin, BaseEstimator):
    """Phase 1, an autoencoder; phase 2, a head on its encoder, and both fine-tuned.

    A subclass has ``_linear_head(Z, target, weight)``, ``_criterion(target, weight)``,
    ``_in_batches(target)`` and ``_holdout(target, n)``.
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
        weight = checked_weight(sample_weight, X)
        return X, np.ones(len(X)) if weight is None else weight

    def _start_random(self, *, cold):
        """Draws that a failing call does not use up; at a cold start, nothing else."""
        if cold:
            for name in ("_net", "_inference"):
                vars(self).pop(name, None)
            self._random = random_generator(self.random_state)
        else:
            self._random = copy.deepcopy(self._random)

    def _pretrained(self, X, weight, context=None):
        """The autoencoder that is given, if it is fitted; else one of all rows."""
        given = self._given()
        if hasattr(given, "module_"):
            self._refuse_other_columns(given)
            # What becomes of the given one later is not to matter.
            return copy.deepcopy(given)
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
        one_unit = columns_look_like_pixels(X)
        return AutoencoderTransformer(
            architecture=self.architecture,
            input_shape=self.input_shape,
            scale=None if one_unit else "auto",
            corruption_level=NOISE_OF_ONE_UNIT if one_unit else NOISE,
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
        self._take(self._head_on(labelled))
        self.loss_curve_, self.validation_curve_, self.best_loss_ = [], [], np.nan
        held_out = self._held_out(labelled)
        if held_out is None or self._was_interrupted():
            return
        # Of all rows the same in both passes.
        everything = self._everything(labelled, unlabelled)
        net, judged = self._tuned(labelled, held_out, everything, tasks)
        if judged is not None:
            self.validation_curve_ = net.validation_curve_
            self.best_loss_ = net.best_loss_
        if not net.has_moved:
            return
        vars(self).update(self._fitted(net, judged), _net=net)
        # Of few labels those held out are many: what is better is learnt from all.
        share = math.ceil(self.validation_fraction * len(labelled.X))
        if len(held_out) > share and not net.was_interrupted:
            net, _ = self._tuned(labelled, held_out[:0], everything, tasks)
            if not net.was_interrupted and math.isfinite(net.loss_curve_[-1]):
                vars(self).update(self._fitted(net, None), _net=net)

    def _was_interrupted(self):
        """Whether Ctrl-C has ended the phase 1 of this fit."""
        is_new = not hasattr(self._given(), "module_")
        return is_new and self.autoencoder_._net.was_interrupted

    def _tuned(self, labelled, held_out, everything, tasks):
        """A net trained on the labelled rows but those held out, and these, if any."""
        seen = labelled.part(np.setdiff1d(np.arange(len(labelled.X)), held_out))
        net = self._net_of(self._head_on(seen), labelled, everything)
        judged = self._rows(net, labelled.part(held_out)) if len(held_out) else None
        self._train(net, self._rows(net, seen), judged, everything, tasks)
        self.loss_curve_ = [*self.loss_curve_, *net.loss_curve_]
        return net, judged

    def _held_out(self, labelled):
        """Labelled rows to judge by; None if the encoder is to stay as it is."""
        if not self.fine_tune:
            return None
        if not self.early_stopping:
            return np.zeros(0, dtype=np.intp)
        n = n_held_out(len(labelled.X), self.validation_fraction)
        rows = self._holdout(labelled.target, n)
        return rows if len(rows) >= MIN_JUDGES else None

    def _head_on(self, rows):
        """Weights (n_outputs, n_components) and intercepts of a linear head."""
        codes = self.autoencoder_._inference.encode(rows.X)
        return self._linear_head(codes, rows.target, rows.weight)

    def _net_of(self, head, labelled, everything):
        """A net at its start: the autoencoder's encoder and a linear head."""
        autoencoder = self.autoencoder_.module_
        device = resolve_device(self.device)
        criterion = self._criterion(labelled.target, labelled.weight, device)
        net = HeadNet(
            Head(
                copy.deepcopy(autoencoder.encoder), *(torch.from_numpy(p) for p in head)
            ),
            lambda: criterion,
            radius=half_way_to_the_next(everything.X) if len(everything.X) else 0.0,
            consistency_weight=float(self.consistency_weight),
            width=cost(autoencoder, self.n_features_in_).width,
            device=device,
            optimizer__weight_decay=self.alpha,
        )
        with self._frozen(net.module):
            net.initialize()
        # What is pickled once is module_, and no lambda.
        net.module, net.criterion = Head, type(criterion)
        return net

    @contextmanager
    def _frozen(self, module):
        """All but the layers that are to be fine-tuned are none to train."""
        # A bool of numpy's is no number of layers.
        n_last = self.fine_tune
        n_last = bool(n_last) if isinstance(n_last, bool | np.bool_) else n_last
        freeze(early_layers(module.encoder, n_last))
        try:
            yield
        finally:
            thaw(module)

    def _rows(self, net, rows):
        """Labelled rows as tensors."""
        matrix = self.autoencoder_._columns.transform_float32(rows.X)
        target = self._in_batches(rows.target)
        return _tensors(net, MergedRows(matrix, rows.weight, target))

    def _everything(self, labelled, unlabelled):
        """All rows, scaled, and whether each lacks a label; none if none is asked."""
        if self.consistency_weight == 0:
            return MergedRows(np.zeros((0, self.n_features_in_)), np.ones(0))
        X = np.concatenate([labelled.X, unlabelled.X])
        weight = np.concatenate([labelled.weight, unlabelled.weight])
        lacks = np.arange(len(X)) >= len(labelled.X)
        matrix = self.autoencoder_._columns.transform_float32(X)
        return MergedRows(matrix, weight, lacks.astype(np.float32))

    def _train(self, net, rows, judged, everything, tasks):
        """Train by the budget or, without tasks, on each labelled row once."""
        run = self._run(len(rows), once=tasks is None)
        flops = 6 * run.batch_size * self._n_multiplications()
        asked = _tensors(net, everything) if len(everything.X) else None
        with (
            self._frozen(net.module_),
            limit_threads(flops),
            enable_gradients(),
            fork_torch_rng(self._random, net.device),
        ):
            net.train(rows, judged, run, tasks, asked)

    def _n_multiplications(self):
        module = self.autoencoder_.module_
        return cost(module, self.n_features_in_).n_multiplications

    def _run(self, n_rows, *, once):
        size = BATCH_SIZE if self.batch_size == "auto" else self.batch_size
        rate = self.learning_rate_init
        rate = LEARNING_RATE if rate == "auto" else rate
        return TrainingConfig(
            n_iterations=1 if once else self.max_iter,
            max_batches=-(-n_rows // size) if once else N_BATCHES,
            batch_size=size,
            # A constant rate has no decay to end on.
            learning_rate=rate / 10 if once else rate,
            schedule=not once,
            shuffle=True,
            patience=self.n_iter_no_change,
            tol=self.tol,
            keep_start_unless_significant=True,
            verbose=bool(self.verbose),
            generator=torch_generator(self._random),
            downweight_bad_rows=False,
            repeat=not once,
        )

    def _fitted(self, net, judged):
        """Attributes of an estimator that stops training where ``net`` is now."""
        old, tuned = self.autoencoder_._inference, net.module_
        # The decoder is the old one's: of the module that holds both, a copy is made.
        module = copy.copy(old.module)
        module._modules = dict(old.module._modules)
        module.encoder = copy.deepcopy(tuned.encoder).to(old.module.noise_variance)
        thaw(module.encoder)
        head = (p.detach().double().cpu().numpy() for p in tuned.linear.parameters())
        return {
            "_inference": FittedAutoencoder(
                old.columns, module, old.objective, old.prior
            ),
            "_head": tuple(part.copy() for part in head),
        }

    def _take(self, head):
        self._inference, self._head = self.autoencoder_._inference, head

    def _learn_once(self, labelled, unlabelled):
        """One pass over the labelled rows of a batch, at a constant rate."""
        if not hasattr(self, "_inference"):
            self._take(self._head_on(labelled))
            self.loss_curve_, self.validation_curve_ = [], []
        everything = self._everything(labelled, unlabelled)
        if hasattr(self, "_net"):
            net = copy.deepcopy(self._net)
        else:
            net = self._net_of(self._head, labelled, everything)
        self._train(net, self._rows(net, labelled), None, everything, None)
        vars(self).update(self._fitted(net, None), _net=net, best_loss_=np.nan)
        self.loss_curve_ = [*self.loss_curve_, *net.loss_curve_]

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
        return self._inference.encode(X)

    def _outputs(self, X):
        """Outputs (n, n_outputs) of the head, float64."""
        X = self._check(X)
        coef, intercept = self._head
        return self._inference.encode(X).astype(np.float64) @ coef.T + intercept

    def _check(self, X):
        check_is_fitted(self, "autoencoder_")
        return validate_data(self, X, dtype=[np.float64, np.float32], reset=False)


def _tensors(net, rows):
    """Rows, weights and targets on the net's device."""
    return LabelledRows(*(torch.from_numpy(part).to(net.device) for part in rows))
