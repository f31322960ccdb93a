"""Base of the semi-supervised estimators: pretraining, linear head, fine-tuning."""

import copy
import math
from contextlib import contextmanager

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.callback import CallbackSupportMixin
from sklearn.frozen import FrozenEstimator
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from sklearn_ae._callbacks import FitTasks
from sklearn_ae._pickling import PicklingMixin
from sklearn_ae._runtime import (
    enable_gradients,
    limit_threads,
    random_generator,
    resolve_device,
    torch_generator,
)
from sklearn_ae._validation import checked_table, checked_weight
from sklearn_ae.autoencoder._base import check_unchanged
from sklearn_ae.autoencoder._inference import CodesMixin, inference_of
from sklearn_ae.autoencoder._parameters import (
    CONSTRAINTS,
    clone_given,
    validate_given,
)
from sklearn_ae.autoencoder._transformer import AutoencoderTransformer
from sklearn_ae.nn import Head, cost, early_layers, freeze, thaw
from sklearn_ae.semi_supervised._consistency import consistency_radius
from sklearn_ae.semi_supervised._head_net import HeadNet
from sklearn_ae.semi_supervised._labels import MergedRows
from sklearn_ae.tables._column_scaler import columns_look_like_pixels
from sklearn_ae.tables._rows import n_held_out
from sklearn_ae.training._batches import LabelledRows
from sklearn_ae.training._net import TrainingConfig

# Differences of two outputs are finite.
LARGEST_OUTPUT = np.finfo(np.float64).max / 4
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
    CodesMixin, PicklingMixin, CallbackSupportMixin, BaseEstimator
):
    """An autoencoder is pretrained, then its encoder and a linear head fine-tuned.

    A subclass has ``_linear_head(Z, target, weight)``,
    ``_criterion(target, weight, device)``, ``_batch_target(target)`` and
    ``_holdout(target, n)``.
    """

    # -- pretraining -------------------------------------------------------------

    def _validate(self, X, y, sample_weight, *, reset):
        X = checked_table(self, X, reset=reset, min_rows=2 if reset else 1)
        if y is not None:
            check_consistent_length(X, y)
        weight = checked_weight(sample_weight, X)
        return X, np.ones(len(X)) if weight is None else weight

    def _start_random(self, *, reset):
        """Seed the random state, or copy it: a failing call must not advance it."""
        if reset:
            # A previous fit's networks would otherwise be trained on.
            for name in ("_inference", "_loss_terms", "_moments"):
                vars(self).pop(name, None)
            self._random = random_generator(self.random_state)
        else:
            self._random = copy.deepcopy(self._random)

    def _pretrain(self, X, weight, context=None):
        """Return an autoencoder fitted to all rows, or a copy of a fitted one."""
        given = self._given_autoencoder()
        if hasattr(given, "module_"):
            self._check_same_columns(given)
            way_out = "Give a clone of it, which is trained with the new settings."
            training = ("alpha", "device")
            check_unchanged(given, "in a fitted autoencoder", way_out, training)
            # The caller may fit the given one again later, which sets new attributes.
            return copy.copy(given)
        if given is None:
            new = self._default_autoencoder(X)
        else:
            new = clone_given(given, self)
        new.set_params(random_state=self._draw_seed())
        if context is None:
            return new.fit(X, sample_weight=weight)
        task = context.subcontext(task_name="pretraining")
        with task.propagate_callback_context(new):
            return new.fit(X, sample_weight=weight)

    def _given_autoencoder(self):
        """Validate ``autoencoder``; return it without its FrozenEstimator."""
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
        validate_given(given, self)
        if is_frozen and not hasattr(given, "module_"):
            raise ValueError(
                "autoencoder is a FrozenEstimator of an AutoencoderTransformer that is "
                "not fitted: fit it first."
            )
        return given

    def _default_autoencoder(self, X):
        pixels = columns_look_like_pixels(X)
        # With the transformer's 0.95 and alpha=0.01 the accuracy on digits, breast
        # cancer and wine, 5 to 20 % of them labelled, is the same within 0.01.
        return AutoencoderTransformer(
            0.99,
            architecture=self.architecture,
            input_shape=self.input_shape,
            scale=None if pixels else "auto",
            corruption_level=1.0 if pixels else 0.5,
            alpha=1.0,
            device=self.device,
            verbose=self.verbose,
        )

    def _check_same_columns(self, autoencoder):
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

    def _fit_tasks(self, context, X, y, weight, has_label):
        """Tasks whose callbacks get the labelled rows, as scorers take no others."""
        rows = slice(None) if has_label.all() else has_label
        weight = None if weight is None else weight[rows]
        return FitTasks(self, context, X[rows], y[rows], weight, self._attributes_now)

    # -- fine-tuning -------------------------------------------------------------

    def _fine_tune(self, labelled, unlabelled, tasks):
        """Train encoder and head; keep them if held-out rows are predicted better."""
        self.loss_curve_, self.validation_curve_, self.best_loss_ = [], [], np.nan
        held_out = self._held_out_rows(labelled)
        if held_out is None or self._was_interrupted():
            return
        all_rows = self._all_rows(labelled, unlabelled)
        net, monitored = self._train_new(labelled, held_out, all_rows, tasks)
        if monitored is not None:
            self.validation_curve_ = net.validation_curve_
            self.best_loss_ = net.best_loss_
        if not net.has_moved:
            return
        self._set_fitted(net, monitored)
        # A large share of few labels is held out: once fine-tuning is known to help, it
        # is repeated with all of them.
        n_affordable = math.ceil(self.validation_fraction * len(labelled.X))
        if len(held_out) > n_affordable and not net.was_interrupted:
            net, _ = self._train_new(labelled, held_out[:0], all_rows, tasks)
            if not net.was_interrupted and math.isfinite(net.loss_curve_[-1]):
                self._set_fitted(net, None)

    def _fine_tune_once(self, labelled, unlabelled):
        """Pass once over the labelled rows of a batch, at a constant learning rate."""
        if not hasattr(self, "_inference"):
            self._set_head(self._fit_head(labelled))
            self.loss_curve_, self.validation_curve_ = [], []
        all_rows = self._all_rows(labelled, unlabelled)
        criterion, radius = getattr(self, "_loss_terms", (None, 0.0))
        if criterion is None:
            criterion = self._criterion_of(labelled)
        radius = radius or _radius(all_rows)
        net = self._head_net(
            self._inference.module.encoder, self._head, criterion, radius
        )
        net.resume(getattr(self, "_moments", None))
        self._train(net, self._tensors(net, labelled), None, all_rows, None)
        self._set_fitted(net, None)
        self._moments = net.moments()
        self.best_loss_ = np.nan
        self.loss_curve_ = [*self.loss_curve_, *net.loss_curve_]

    def _was_interrupted(self):
        """Return True if Ctrl-C ended the pretraining of this fit."""
        is_new = not hasattr(self._given_autoencoder(), "module_")
        return is_new and inference_of(self.autoencoder_).was_interrupted

    def _train_new(self, labelled, held_out, all_rows, tasks):
        """Train a new net without the rows held out; return it and these as tensors."""
        kept = np.setdiff1d(np.arange(len(labelled.X)), held_out)
        train = labelled.select(kept)
        encoder = self.autoencoder_.module_.encoder
        criterion, radius = self._criterion_of(labelled), _radius(all_rows)
        net = self._head_net(encoder, self._fit_head(train), criterion, radius)
        monitored = None
        if len(held_out):
            monitored = self._tensors(net, labelled.select(held_out))
        self._train(net, self._tensors(net, train), monitored, all_rows, tasks)
        self.loss_curve_ = [*self.loss_curve_, *net.loss_curve_]
        return net, monitored

    def _held_out_rows(self, labelled):
        """Return labelled rows to hold out; None if nothing is fine-tuned."""
        if not self.fine_tune:
            return None
        if not self.early_stopping:
            return np.zeros(0, dtype=np.intp)
        n = n_held_out(len(labelled.X), self.validation_fraction)
        rows = self._holdout(labelled.target, n)
        # On fewer than ten rows chance decides whether the loss improves.
        return rows if len(rows) >= 10 else None

    def _fit_head(self, rows):
        """Fit a linear head to codes: (n_outputs, n_components) and (n_outputs,)."""
        codes = inference_of(self.autoencoder_).encode(rows.X)
        return self._linear_head(codes, rows.target, rows.weight)

    def _criterion_of(self, labelled):
        device = resolve_device(self.device)
        return self._criterion(labelled.target, labelled.weight, device)

    def _head_net(self, encoder, head, criterion, radius):
        """Return an untrained net: a copy of an encoder, and a linear head."""
        net = HeadNet(
            Head(copy.deepcopy(encoder), *(torch.tensor(p) for p in head)),
            lambda: criterion,
            radius=radius,
            consistency_weight=float(self.consistency_weight),
            width=cost(self.autoencoder_.module_, self.n_features_in_).width,
            device=resolve_device(self.device),
            optimizer__weight_decay=self.alpha,
        )
        with self._early_layers_frozen(net.module):
            net.initialize()
        return net

    @contextmanager
    def _early_layers_frozen(self, module):
        """Hide from the optimiser all encoder layers but the last ``fine_tune``."""
        n_last = self.fine_tune
        # numpy.bool_ is not the same object as True.
        n_last = bool(n_last) if isinstance(n_last, bool | np.bool_) else n_last
        freeze(early_layers(module.encoder, n_last))
        try:
            yield
        finally:
            thaw(module)

    def _tensors(self, net, rows):
        """Return labelled rows, scaled, as tensors."""
        matrix = inference_of(self.autoencoder_).columns.transform_float32(rows.X)
        target = self._batch_target(rows.target)
        return _to_tensors(net, MergedRows(matrix, rows.weight, target))

    def _all_rows(self, labelled, unlabelled):
        """Return all rows, scaled; the target is 1 if a row is unlabelled, else 0.

        They are empty if ``consistency_weight`` is 0.
        """
        if self.consistency_weight == 0:
            return MergedRows(np.zeros((0, self.n_features_in_)), np.ones(0))
        X = np.concatenate([labelled.X, unlabelled.X])
        weight = np.concatenate([labelled.weight, unlabelled.weight])
        is_unlabelled = np.arange(len(X)) >= len(labelled.X)
        matrix = inference_of(self.autoencoder_).columns.transform_float32(X)
        return MergedRows(matrix, weight, is_unlabelled.astype(np.float32))

    def _train(self, net, rows, monitored, all_rows, tasks):
        """Train for ``max_iter`` iterations or, without tasks, for one pass."""
        config = self._training_config(len(rows), one_pass=tasks is None)
        n_multiplications = cost(
            self.autoencoder_.module_, self.n_features_in_
        ).n_multiplications
        # Two operations forward and four backward for each multiplication.
        flops_per_step = 6 * config.batch_size * n_multiplications
        all_tensors = _to_tensors(net, all_rows) if len(all_rows.X) else None
        with (
            self._early_layers_frozen(net.module_),
            limit_threads(flops_per_step),
            enable_gradients(),
        ):
            net.train(rows, monitored, config, tasks, all_tensors)

    def _training_config(self, n_rows, *, one_pass):
        size = 64 if self.batch_size == "auto" else self.batch_size
        rate = self.learning_rate_init
        rate = 0.003 if rate == "auto" else rate
        return TrainingConfig(
            n_iterations=1 if one_pass else self.max_iter,
            max_batches=-(-n_rows // size) if one_pass else 25,
            batch_size=size,
            # A constant rate does not decay: it has to be smaller.
            learning_rate=rate / 10 if one_pass else rate,
            schedule=not one_pass,
            shuffle=True,
            patience=self.n_iter_no_change,
            tol=self.tol,
            keep_start_unless_significant=True,
            verbose=bool(self.verbose),
            generator=torch_generator(self._random),
            downweight_bad_rows=False,
            repeat=not one_pass,
            has_user_code=callable(self.autoencoder_.architecture),
        )

    # -- fitted attributes -------------------------------------------------------

    def _set_head(self, head):
        """Predict by a linear head on the autoencoder's code."""
        self._inference = inference_of(self.autoencoder_)
        self._head = head

    def _set_fitted(self, net, monitored):
        """Predict by a fine-tuned net; ``monitored`` are the rows held out, or None."""
        self._loss_terms = net.criterion_, net.radius
        encoder = copy.deepcopy(net.module_.encoder)
        thaw(encoder)
        self._inference = inference_of(self.autoencoder_).with_encoder(encoder)
        coef, intercept = net.module_.linear.parameters()
        self._head = _to_float64(coef), _to_float64(intercept)

    def _attributes_now(self, net):
        """Attributes as if training ended now, for callbacks."""
        fitted = copy.copy(self)
        fitted._set_fitted(net, net.monitored)
        return vars(fitted)

    def _draw_seed(self):
        return int(self._random.randint(np.iinfo(np.int32).max))

    # -- inference ---------------------------------------------------------------

    @property
    def n_iter_(self):
        """Number of iterations of pretraining and fine-tuning."""
        return self.autoencoder_.n_iter_ + len(self.loss_curve_)

    def transform(self, X):
        """Encode the rows of X by the fine-tuned encoder.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows in input units.

        Returns
        -------
        X_new : ndarray of shape (n_samples, n_components), or as ``set_output`` says
            Codes, float32 if X is float32, else float64.
        """
        X = self._check(X)
        return self._inference.encode(X)

    def _outputs(self, X):
        """Return the outputs (n, n_outputs) of the head, float64."""
        X = self._check(X)
        coef, intercept = self._head
        Z = torch.from_numpy(self._inference.encode(X).astype(np.float64))
        # A copy: torch warns of a mapped file, which it may not write to.
        coef = torch.tensor(coef)
        # numpy's product would depend on BLAS's threads in its last bit.
        with limit_threads(blas=False):
            outputs = (Z @ coef.T).numpy() + intercept
        if not np.abs(outputs).max() < LARGEST_OUTPUT:
            row = (np.abs(outputs) < LARGEST_OUTPUT).all(axis=1).argmin()
            column = np.abs(X[row]).argmax()
            raise ValueError(
                f"Row {row} of X is too far from the rows of fit: its prediction is "
                f"past float64. Its largest value is {X[row, column]!s}, in column "
                f"{column}. Clip the column, or drop the row."
            )
        return outputs

    def _labelled_rows(self, labelled, X, sample_weight):
        """Return the rows of X with a label and a positive weight, and their weights.

        The first item returned is their indices among the labelled rows.
        """
        self._check(X)
        check_consistent_length(X, labelled)
        weight = checked_weight(sample_weight, X)
        rows = np.flatnonzero(labelled)
        kept = np.arange(len(rows)) if weight is None else np.flatnonzero(weight[rows])
        if not len(kept):
            raise ValueError(
                "No row of X has a label and a sample_weight above zero: there is "
                "nothing to score."
            )
        rows = rows[kept]
        return kept, _safe_indexing(X, rows), None if weight is None else weight[rows]

    def _check(self, X):
        check_is_fitted(self, "autoencoder_")
        return checked_table(self, X)


def _radius(all_rows):
    """Return the norm of perturbations; 0 without rows, which have none then."""
    return consistency_radius(all_rows.X) if len(all_rows.X) else 0.0


def _to_tensors(net, rows):
    """Return rows, weights and targets as tensors on the net's device."""
    return LabelledRows(*(torch.from_numpy(part).to(net.device) for part in rows))


def _to_float64(parameter):
    """Return a copy of a parameter as an array."""
    return parameter.detach().double().cpu().numpy().copy()
