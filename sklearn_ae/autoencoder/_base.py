"""Fit, partial_fit and scores of an autoencoder."""

import copy
from contextlib import nullcontext

import numpy as np
from sklearn.base import BaseEstimator, _fit_context
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.metrics import r2_score
from sklearn.utils.validation import check_is_fitted

from sklearn_ae._callbacks import FitTasks
from sklearn_ae._pickling import PicklingMixin
from sklearn_ae._runtime import (
    all_or_nothing,
    enable_gradients,
    limit_threads,
    random_generator,
)
from sklearn_ae._validation import checked_table, checked_weight
from sklearn_ae.autoencoder._autoencoder_net import AutoencoderNet
from sklearn_ae.autoencoder._code_prior import fitted_prior
from sklearn_ae.autoencoder._inference import FittedAutoencoder
from sklearn_ae.autoencoder._initialization import (
    fit_corruption,
    initial_autoencoder,
    initial_net,
    scaled_rows,
    training_config,
    training_context,
    weighted_rows,
)
from sklearn_ae.autoencoder._parameters import (
    CONSTRAINTS,
    can_sample,
    has_mixture,
    lasting_settings,
    max_iterations,
    picture_shape,
    refuse_contradictions,
    warn_of_idle_settings,
)
from sklearn_ae.autoencoder._row_sampler import RowSampler
from sklearn_ae.tables._margins import Margins
from sklearn_ae.tables._rows import column_moments, n_in_sample_monitor


class _BaseAutoencoder(PicklingMixin, CallbackSupportMixin, BaseEstimator):
    """Fit, partial_fit and scores."""

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

    @all_or_nothing
    @with_callbacks
    def _fit(self, X, y=None, sample_weight=None, *, keep_last=False):
        """As ``fit``; with ``keep_last`` see ``fit_to_the_end``."""
        context = self._init_callback_context(max_subtasks=max_iterations(self))
        cold = not (self.warm_start and hasattr(self, "module_"))
        X, weight = self._validate(X, sample_weight, reset=cold)
        tasks = self._fit_tasks(context, X, y, sample_weight)
        with tasks as task, limit_threads(), enable_gradients():
            data = self._scaled_rows(X, weight, cold=cold)
            self._fit_margins(X, data)
            moments = column_moments(data.matrix, data.weight)
            corruption = fit_corruption(self, moments) if cold else None
            data.hold_out(self._held_out_fraction(), moments)
            net = self._net_to_train(data, corruption, cold=cold)
            rows = weighted_rows(data, net.device)
            train = rows.part(slice(data.n_held_out, None))
            n_monitored = data.n_held_out
            if not n_monitored and not keep_last:
                n_monitored = n_in_sample_monitor(len(data))
            monitored = rows.part(slice(n_monitored)) if n_monitored else None
            config = training_config(self, len(train), self._random)
            with training_context(self, net, config, X.shape[1]):
                net.train(train, monitored, config, task)
            prior = None
            if has_mixture(self):
                prior = fitted_prior(net.module_, rows.x, data.weight, self._random)
            self._set_fitted(net, train, prior)
            self._keep_moments(net, self.warm_start and not keep_last)
            self.n_iter_, self.best_loss_ = net.n_iter_, net.best_loss_
            self.loss_curve_ = net.loss_curve_
            self.validation_curve_ = net.validation_curve_
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    @all_or_nothing
    def partial_fit(self, X, y=None, sample_weight=None):
        """Go on training with one pass over the rows of X, at a constant rate.

        The first call fits scaling, ``n_components`` and the start on its rows, and so
        should be given a representative batch of two or more; later ones keep them. No
        row is held out. After ``fit`` it goes on from the fitted weights. The estimator
        then keeps the optimiser's moments, as with ``warm_start``, and is three times
        as large, in memory and in a pickle.

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
        cold = not hasattr(self, "module_")
        X, weight = self._validate(X, sample_weight, reset=cold)
        with limit_threads(), enable_gradients():
            data = self._scaled_rows(X, weight, cold=cold)
            corruption = None
            if cold:
                self._fit_margins(X, data)
                moments = column_moments(data.matrix, data.weight)
                corruption = fit_corruption(self, moments)
            net = self._net_to_train(data, corruption, cold=cold)
            rows = weighted_rows(data, net.device)
            config = training_config(self, len(rows), self._random, one_pass=True)
            with training_context(self, net, config, X.shape[1]):
                net.train(rows, None, config)
            prior = None if cold else self._inference.prior
            self._set_fitted(net, rows, prior)
            self._keep_moments(net, True)
            curve = [] if cold else self.loss_curve_
            self.loss_curve_ = [*curve, *net.loss_curve_]
            self.n_iter_ = len(self.loss_curve_)
            self.validation_curve_ = [] if cold else self.validation_curve_
            self.best_loss_ = np.nan
        return self

    def _validate(self, X, sample_weight, *, reset):
        refuse_contradictions(self)
        if reset:
            warn_of_idle_settings(self)
        X = checked_table(self, X, reset=reset, min_rows=2 if reset else 1)
        if self.input_shape is not None:
            picture_shape(self, X.shape[1])
        return X, checked_weight(sample_weight, X, min_rows=2 if reset else 0)

    def _fit_tasks(self, context, X, y, sample_weight):
        """Tasks for the callbacks; nothing without any."""
        if not hasattr(self, "_skl_callbacks"):
            return nullcontext()
        return FitTasks(self, context, X, y, sample_weight, self._attributes_now)

    def _held_out_fraction(self):
        return self.validation_fraction if self.early_stopping else None

    def _scaled_rows(self, X, weight, *, cold):
        """Distinct rows, scaled; a cold start fits the scaling."""
        if cold:
            self._random = random_generator(self.random_state)
            # Kept, so that a warm start holds out the same rows again.
            self._order_seed = int(self._random.randint(np.iinfo(np.int32).max))
        else:
            self._random = copy.deepcopy(self._random)
        columns = None if cold else self._columns
        self._columns, data = scaled_rows(self, X, weight, self._order_seed, columns)
        return data

    def _fit_margins(self, X, data):
        """Fit the columns' distributions, if rows will be drawn."""
        self._margins = None
        if can_sample(self):
            self._margins = Margins().fit(X, data.rows, data.weight)

    def _net_to_train(self, data, corruption, *, cold):
        """A new net, at its start or with a copy of the fitted network."""
        if cold:
            # A module of its own: skorch would train a given one on.
            module = initial_autoencoder(
                self, data, self._random, corruption=corruption
            )
            self._lasting = lasting_settings(self)
            return initial_net(self, AutoencoderNet, module, corruption=corruption)
        way_out = "Call fit with warm_start=False to start again."
        check_unchanged(self, "in partial_fit or with warm_start=True", way_out)
        module = copy.deepcopy(self._inference.module)
        corruption = self._inference.corruption
        net = initial_net(self, AutoencoderNet, module, corruption=corruption)
        net.resume(getattr(self, "_moments", None))
        return net

    def _set_fitted(self, net, rows, prior=None):
        """Set the attributes of an estimator that stops training with ``net``."""
        sampler = None
        if can_sample(self) or prior is not None:
            net.measure(rows)
            sampler = RowSampler(net.residual_std_, self._margins)
        self._inference = FittedAutoencoder(
            self._columns,
            net.module_,
            net.criterion_,
            prior,
            net.corruption,
            net.was_interrupted,
            sampler,
        )
        self.n_components_ = self._inference.module.n_components
        if self._inference.is_random:
            self.n_active_components_ = net.n_active_
        else:
            vars(self).pop("n_active_components_", None)

    def _keep_moments(self, net, wanted):
        """Keep the optimiser's moments, of twice the size of the network, if wanted."""
        vars(self).pop("_moments", None)
        if wanted:
            self._moments = net.moments()

    def _attributes_now(self, net):
        """Attributes as if training ended now, for callbacks."""
        fitted = copy.copy(self)
        rows = net.rows if net.monitored is None else net.monitored
        fitted._set_fitted(net, rows)
        return vars(fitted)

    # -- inference ---------------------------------------------------------------

    @property
    def module_(self):
        """The fitted network; changes to it are not supported."""
        return self._inference.module

    def _check(self, X):
        # check_is_fitted takes as long as a row's code.
        if not hasattr(self, "_inference"):
            check_is_fitted(self, "module_")
        return checked_table(self, X)

    def score(self, X, y=None, sample_weight=None):
        """Share of the variance of X that the reconstruction explains.

        The R^2 of the scaled columns, weighted by their variance: 1 is perfect, 0 no
        better than the columns' means. With the same columns and PCA it is
        ``r2_score(X, pca.inverse_transform(pca.transform(X)),
        multioutput="variance_weighted")``. It can't compare settings that differ in
        ``scale``: each has its own units.

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
        return explained_variance(scaled, reconstruction, sample_weight)

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


def check_unchanged(autoencoder, where, way_out, ignored=()):
    """ValueError if a setting of the network was changed after ``fit``."""
    settings = lasting_settings(autoencoder)
    for name, fitted in autoencoder._lasting.items():
        if settings[name] != fitted and name not in ignored:
            raise ValueError(
                f"{name} can't change {where}: it was {fitted!r} and is "
                f"{settings[name]!r}. {way_out}"
            )


def fit_to_the_end(autoencoder, X, weight):
    """Fit an autoencoder as ``fit`` does, but for what is kept without early stopping.

    The loss is then not monitored, and the last weights are kept: the loss of training
    rows is lowest where they are memorised.
    """
    return autoencoder._fit(X, sample_weight=weight, keep_last=True)


def explained_variance(X, X_hat, sample_weight):
    """Share of the variance of X (n, d) that X_hat explains, as in ``score``.

    ``r2_score(X, X_hat, multioutput="variance_weighted")``, but finite for all finite
    numbers.
    """
    weight = np.ones(len(X)) if sample_weight is None else sample_weight
    X, X_hat, weight = X[weight > 0], X_hat[weight > 0], weight[weight > 0]
    if len(X) < 2:
        return r2_score(X, X_hat)
    # By a power of two, which rounds nothing: squares of far rows are in range.
    power = -np.frexp(max(np.abs(X).max(), np.abs(X_hat).max()))[1]
    X, X_hat = (np.ldexp(a.astype(np.float64), power) for a in (X, X_hat))
    moments = column_moments(X, weight)
    residual = np.average(np.square(X - X_hat), axis=0, weights=weight)
    varies = moments.low < moments.high
    if not varies.any():
        return float(np.mean(residual == 0))
    return float(1 - residual[varies].sum() / moments.variance[varies].sum())
