"""What every estimator here shares: parameters, fit, and inference in blocks."""

import copy
import functools

import numpy as np
import torch
from sklearn.base import BaseEstimator, _fit_context
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.metrics import r2_score
from sklearn.utils.validation import check_is_fitted, validate_data

from sklearn_ae._callbacks import FitTasks
from sklearn_ae._runtime import (
    enable_gradients,
    fork_torch_rng,
    limit_threads,
    random_generator,
    resolve_device,
    torch_generator,
)
from sklearn_ae._validation import all_or_nothing, checked_weight
from sklearn_ae.autoencoder._autoencoder_net import AutoencoderNet
from sklearn_ae.autoencoder._code_prior import fitted_prior
from sklearn_ae.autoencoder._inference import FittedAutoencoder
from sklearn_ae.autoencoder._initialization import fit_corruption, initial_autoencoder
from sklearn_ae.autoencoder._parameters import (
    CONSTRAINTS,
    architecture,
    batch_size,
    can_sample,
    code_kind,
    corruption_level,
    free_net_params,
    has_mixture,
    have_common_unit,
    is_noise_conditional,
    lasting_settings,
    learning_rate,
    max_batches,
    max_iterations,
    picture_shape,
    refuse_contradictions,
    scale,
)
from sklearn_ae.nn import cost
from sklearn_ae.objective import Objective
from sklearn_ae.tables._column_scaler import ColumnScaler
from sklearn_ae.tables._holdout import (
    move_influential_rows_last,
    n_held_out,
    n_in_sample_monitor,
)
from sklearn_ae.tables._rows import RowView, merge_equal_rows
from sklearn_ae.training._batches import WeightedRows
from sklearn_ae.training._net import TrainingConfig


class _BaseAutoencoder(CallbackSupportMixin, BaseEstimator):
    """Fit, partial_fit and the maps between table, matrix and code."""

    _parameter_constraints: dict = CONSTRAINTS

    # -- fit ---------------------------------------------------------------------

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, sample_weight=None):
        """Fit the autoencoder to the rows of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            At least two rows of finite numbers.
        y : Ignored
            Present for API consistency; handed to callbacks that score with it.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights; a row of weight w counts as w copies of it.

        Returns
        -------
        self : object
            The fitted estimator. If fit fails, the estimator is as it was before.

        Raises
        ------
        ValueError
            For missing or infinite values, fewer than two rows, a parameter out of its
            range, a device that is not there, or, with ``warm_start``, a parameter that
            can't change between fits.
        TypeError
            For sparse input.
        """
        return self._fit(X, y, sample_weight)

    @with_callbacks
    def _fit(self, X, y=None, sample_weight=None, trusted=None):
        """As ``fit``, but trained on the rows that ``trusted`` marks.

        The columns' scaling, and the units of the noise on them, are of all rows.
        Without early stopping no rows are monitored: the last weights are kept.
        """
        context = self._init_callback_context(max_subtasks=max_iterations(self))
        with all_or_nothing(self):
            cold = not (self.warm_start and hasattr(self, "module_"))
            X, weight = self._validate(X, sample_weight, reset=cold)
            tasks = FitTasks(self, context, X, y, sample_weight)
            with tasks, limit_threads(), enable_gradients():
                matrix, weight, rows = self._prepare(X, weight, cold=cold)
                corruption = self._corruption(matrix, weight) if cold else None
                if trusted is not None:
                    matrix, weight = matrix[trusted[rows]], weight[trusted[rows]]
                data = self._split(matrix, weight)
                net = self._started(*data, corruption) if cold else self._continued()
                watched = n_in_sample_monitor(len(matrix)) if trusted is None else 0
                n_monitored = data[-1] or watched
                self._train(net, *data, n_monitored, tasks)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y=None, sample_weight=None):
        """Go on training with one pass over the rows of X, at a constant rate.

        The first call fits scaling, ``n_components`` and the start on its rows, and so
        should be given a representative batch of two or more; later ones keep them. No
        row is held out. After ``fit`` it goes on from there.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            A batch of rows.
        y : Ignored
            Present for API consistency.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights.

        Returns
        -------
        self : object
            The estimator. If the call fails, it is as it was before.

        Raises
        ------
        ValueError
            As in ``fit``; also where the columns or a parameter that describes the
            network have changed since the first call.
        TypeError
            For sparse input.
        """
        with all_or_nothing(self):
            cold = not hasattr(self, "module_")
            X, weight = self._validate(X, sample_weight, reset=cold)
            with limit_threads(), enable_gradients():
                matrix, weight, _ = self._prepare(X, weight, cold=cold)
                if cold:
                    corruption = self._corruption(matrix, weight)
                    net = self._started(matrix, weight, 0, corruption)
                else:
                    net = self._continued()
                self._train_one_pass(net, matrix, weight)
        return self

    def _validate(self, X, sample_weight, *, reset):
        refuse_contradictions(self)
        X = validate_data(
            self,
            X,
            dtype=[np.float64, np.float32],
            reset=reset,
            ensure_min_samples=2 if reset else 1,
        )
        picture_shape(self, X.shape[1])
        return X, checked_weight(sample_weight, X, least=2 if reset else 0)

    def _prepare(self, X, weight, *, cold):
        """Distinct rows, scaled, in float32, their weights, and which of X they are."""
        if cold:
            self._random = random_generator(self.random_state)
            # Kept, so that a warm start holds out the same rows again.
            self._order = self._draw_seed()
        else:
            self._random = copy.deepcopy(self._random)
        rows, weight = merge_equal_rows(X, weight, self._order)
        X = RowView(X, rows)
        if cold:
            self._columns = ColumnScaler(scale(self)).fit(X, weight)
        return self._columns.transform_float32(X), weight, rows

    def _split(self, matrix, weight):
        """Rows, put in order in place, and weights, and how many to hold out first."""
        order = move_influential_rows_last(matrix, weight)
        fraction = self.validation_fraction
        n = n_held_out(len(order), fraction) if self.early_stopping else 0
        return matrix, weight[order], n

    def _draw_seed(self):
        return int(self._random.randint(np.iinfo(np.int32).max))

    def _corruption(self, matrix, weight):
        level = corruption_level(self)
        return fit_corruption(
            self.corruption, level, matrix, weight, common=have_common_unit(self)
        )

    def _started(self, matrix, weight, n_held_out, corruption):
        """A net at its start: number of components and weights from the matrix."""
        components = self._components(matrix, weight)
        # A module of its own: one that is handed on would be trained on.
        module = initial_autoencoder(
            matrix,
            weight,
            n_held_out,
            n_components=components,
            architecture=lambda generator: architecture(
                self, matrix.shape[1], generator
            ),
            init=self.init,
            code=code_kind(self),
            noise_conditional=corruption if is_noise_conditional(self) else None,
            common=have_common_unit(self),
            random=self._random,
        )
        kind, ours = self._net_for(module, components, corruption)
        ours = ours | {
            "device": resolve_device(self.device),
            "optimizer__weight_decay": self.alpha,
        }
        criterion = functools.partial(
            Objective,
            self.loss,
            sparsity=self.sparsity,
            sparsity_weight=float(self.sparsity_weight),
            sparsity_target=float(self.sparsity_target),
            contraction_weight=float(self.contraction_weight),
            beta=float(self.beta),
        )
        theirs = free_net_params(self.net_params)
        try:
            net = kind(module, criterion, **(ours | theirs)).initialize()
        except (TypeError, ValueError, AttributeError) as error:
            raise ValueError(
                f"net_params={self.net_params!r} is not accepted by skorch's NeuralNet "
                f"or by the optimizer: {error}"
            ) from error
        # Weights are pickled once, as net.module_.
        net.module = type(module)
        self._lasting = lasting_settings(self)
        return net

    def _components(self, matrix, weight):
        """How many components, as ``initial_autoencoder`` takes it."""
        return self.n_components

    def _net_for(self, module, components, corruption):
        """The kind of net that is to train a module, and its own parameters."""
        return AutoencoderNet, {"corruption": corruption}

    def _continued(self):
        """A copy of the fitted net, where the parameters still describe it."""
        asked = lasting_settings(self)
        for name, fitted in self._lasting.items():
            if asked[name] != fitted:
                raise ValueError(
                    f"{name} can't change in partial_fit or with warm_start=True: it "
                    f"was {fitted!r} and is {asked[name]!r}. Call fit with "
                    "warm_start=False to start again."
                )
        return copy.deepcopy(self._net)

    def _train(self, net, matrix, weight, n_held_out, n_monitored, tasks):
        """Train ``net`` by the budget, and take it on."""
        rows = self._rows(net, matrix, weight)
        train = rows.part(slice(n_held_out, None))
        monitored = rows.part(slice(n_monitored)) if n_monitored else None
        threads = limit_threads(self._flops(net, len(train)))
        with threads, fork_torch_rng(self._random, net.device):
            n_iterations = max_iterations(self)
            run = self._run(len(train), n_iterations, max_batches(self), schedule=True)
            net.train(train, monitored, run, tasks)
        prior = None
        if has_mixture(self):
            prior = fitted_prior(net.module_, rows.x, weight, self._random)
        vars(self).update(
            self._fitted(net, train, prior),
            n_iter_=net.n_iter_,
            loss_curve_=net.loss_curve_,
            validation_curve_=net.validation_curve_,
            best_loss_=net.best_loss_,
        )

    def _train_one_pass(self, net, matrix, weight):
        """Train ``net`` on each row once, at a constant rate, and take it on."""
        rows = self._rows(net, matrix, weight)
        run = self._run(len(rows), 1, len(rows), schedule=False)
        threads = limit_threads(self._flops(net, len(rows)))
        with threads, fork_torch_rng(self._random, net.device):
            net.train(rows, None, run)
        prior = self._inference.prior if hasattr(self, "_inference") else None
        vars(self).update(
            self._fitted(net, rows, prior),
            n_iter_=getattr(self, "n_iter_", 0) + net.n_iter_,
            loss_curve_=[*getattr(self, "loss_curve_", []), *net.loss_curve_],
            validation_curve_=getattr(self, "validation_curve_", []),
            best_loss_=np.nan,
        )

    def _rows(self, net, matrix, weight):
        x = torch.from_numpy(matrix).to(net.device)
        return WeightedRows(x, torch.from_numpy(weight).to(net.device))

    def _run(self, n_rows, n_iterations, max_batches, *, schedule):
        return TrainingConfig(
            n_iterations=n_iterations,
            max_batches=max_batches,
            batch_size=batch_size(self, n_rows),
            learning_rate=learning_rate(self, n_rows, schedule=schedule),
            schedule=schedule,
            shuffle=self.shuffle,
            patience=self.n_iter_no_change,
            tol=self.tol,
            # A random start is nothing to hold on to.
            keep_start_unless_significant=self.init == "pca",
            verbose=bool(self.verbose),
            generator=torch_generator(self._random),
        )

    def _flops(self, net, n_rows):
        n_multiplications = cost(net.module_, self.n_features_in_).n_multiplications
        return 6 * n_multiplications * batch_size(self, n_rows)

    def _fitted(self, net, rows, prior=None):
        """Attributes of an estimator that stops training where ``net`` is now."""
        if can_sample(self):
            net.measure(rows)
        codec = FittedAutoencoder(self._columns, net.module_, net.criterion_, prior)
        active = {"n_active_components_": net.n_active_} if codec.is_random else {}
        return {
            "_columns": self._columns,
            "_inference": codec,
            "_net": net,
            "n_components_": codec.module.n_components,
            **active,
        }

    # -- inference ---------------------------------------------------------------

    @property
    def module_(self):
        """The fitted network, to be read: what is changed in it may not be noticed."""
        return self._inference.module

    def _check(self, X):
        # Asked on its own it takes as long as a row's code.
        if not hasattr(self, "_inference"):
            check_is_fitted(self, "module_")
        return validate_data(self, X, dtype=[np.float64, np.float32], reset=False)

    def score(self, X, y=None, sample_weight=None):
        """Share of the variance of X that the reconstruction explains.

        The R^2 of the scaled columns, weighted by their variance: 1 is perfect, 0 no
        better than the columns' means. With the same columns and PCA it is
        ``r2_score(X, pca.inverse_transform(pca.transform(X)),
        multioutput="variance_weighted")``. Settings that differ in ``scale`` can't be
        compared by it: each is judged in its own units.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows in input units; at least two.
        y : Ignored
            Present for API consistency.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights.

        Returns
        -------
        score : float
            At most 1.
        """
        X = self._check(X)
        sample_weight = checked_weight(sample_weight, X)
        scaled, reconstruction = self._inference.scaled(X)
        return float(
            r2_score(
                scaled,
                reconstruction,
                sample_weight=sample_weight,
                multioutput="variance_weighted",
            )
        )

    def score_samples(self, X):
        """Minus the reconstruction error of each row: higher is more typical.

        With ``latent="gaussian"`` it is the row's log-density in scaled units and nats,
        bounded from below by 64 importance-weighted draws (Burda, Grosse and
        Salakhutdinov, 2016. Importance weighted autoencoders. ICLR), the same ones for
        each row and call.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows in input units.

        Returns
        -------
        scores : ndarray of shape (n_samples,), float64
            Minus the row's ``loss``, averaged over the scaled columns; or the bound of
            its log-density.
        """
        X = self._check(X)
        if self._inference.is_random:
            return self._inference.log_densities(X).astype(np.float64)
        return -self._inference.row_losses(X).astype(np.float64)
