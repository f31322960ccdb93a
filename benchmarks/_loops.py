"""One autoencoder, trained by several loops: what a step costs in each of them.

Each trains d-64-16-64-d with ReLU by Adam, batches of 256 in an order of each epoch's
own, on columns that are standardised already, and returns a function that reconstructs
rows. The code is linear but in MLPRegressor's, PyOD's and Keras's.
"""

import os
from functools import partial
from importlib.util import find_spec
from itertools import pairwise

import numpy as np
import torch
from skorch import NeuralNetRegressor
from torch import nn
from torch.nn import functional as F

from benchmarks._rivals import MLPAutoencoder
from sklearn_ae import AutoencoderTransformer

WIDE, CODE = 64, 16
BATCH, RATE = 256, 1e-3
ACTIVE = 0, 2  # the layers with an activation after them


def _sizes(X):
    return X.shape[1], WIDE, CODE, WIDE, X.shape[1]


def _module(X, seed):
    """A fresh network; its initial weights are those of MLPRegressor's rule."""
    generator, layers = torch.Generator().manual_seed(seed), []
    for n_in, n_out in pairwise(_sizes(X)):
        layer = nn.Linear(n_in, n_out)
        nn.init.xavier_uniform_(layer.weight, generator=generator)
        nn.init.zeros_(layer.bias)
        layers.append(layer)
    first, code, back, last = layers
    return nn.Sequential(first, nn.ReLU(), code, back, nn.ReLU(), last)


def _apply(module):
    return lambda X: module(torch.from_numpy(X)).detach().numpy()


def _batches(n, seed, n_epochs):
    """Indices of each mini-batch of all epochs."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(n_epochs):
        yield from torch.randperm(n, generator=generator).split(BATCH)


def products(X, seed, n_epochs):
    """Only the matrix products of a step, forward and backward: the floor."""
    rng = np.random.default_rng(seed)
    pairs = list(pairwise(_sizes(X)))
    weights = [rng.normal(size=p).astype(np.float32) / 9 for p in pairs]
    enable_gradients = [np.empty_like(w) for w in weights]
    outputs = [np.empty((BATCH, m), np.float32) for _, m in pairs]
    inputs = [np.empty((BATCH, m), np.float32) for m, _ in pairs]
    for start in range(0, n_epochs * len(X), BATCH):
        h = first = X[start % (len(X) - BATCH + 1) :][:BATCH]
        for w, out in zip(weights, outputs, strict=True):
            h = np.matmul(h, w, out=out)
        for i in reversed(range(len(weights))):
            a = outputs[i - 1] if i else first
            np.matmul(a.T, h, out=enable_gradients[i])
            if i:
                h = np.matmul(h, weights[i].T, out=inputs[i])
    return None


def bare(X, seed, n_epochs):
    """Ten lines of torch."""
    module, x = _module(X, seed), torch.from_numpy(X)
    optimizer = torch.optim.Adam(module.parameters(), lr=RATE, fused=True)
    for rows in _batches(len(x), seed, n_epochs):
        batch = x[rows]
        optimizer.zero_grad()
        F.mse_loss(module(batch), batch).backward()
        optimizer.step()
    return _apply(module)


def _flattened(module):
    """All parameters and gradients as views of one vector's."""
    parameters = list(module.parameters())
    vector = nn.Parameter(torch.cat([p.detach().flatten() for p in parameters]))
    vector.grad = torch.zeros_like(vector)
    ends = np.cumsum([p.numel() for p in parameters])
    for p, end in zip(parameters, ends, strict=True):
        p.data = vector.data[end - p.numel() : end].view_as(p)
        p.grad = vector.grad[end - p.numel() : end].view_as(p)
    return vector


def flat(X, seed, n_epochs):
    """The same, the optimiser on one vector."""
    module, x = _module(X, seed), torch.from_numpy(X)
    vector = _flattened(module)
    optimizer = torch.optim.Adam([vector], lr=RATE, fused=True)
    for rows in _batches(len(x), seed, n_epochs):
        batch = x[rows]
        vector.grad.zero_()
        F.mse_loss(module(batch), batch).backward()
        optimizer.step()
    return _apply(module)


def manual_backward(X, seed, n_epochs):
    """The same in numpy, by the chain rule written out: as bare as a loop can be."""
    module = _module(X, seed)
    vector = _flattened(module)
    layers = [layer for layer in module if isinstance(layer, nn.Linear)]
    weights = [layer.weight.detach().numpy() for layer in layers]
    biases = [layer.bias.detach().numpy() for layer in layers]
    by_weights = [layer.weight.grad.numpy() for layer in layers]
    by_biases = [layer.bias.grad.numpy() for layer in layers]
    move = _adam(vector.detach().numpy(), vector.grad.numpy())
    for rows in _batches(len(X), seed, n_epochs):
        h = batch = X.take(rows.numpy(), axis=0)
        inputs = []
        for i, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            inputs.append(h)
            h = h @ weight.T
            h += bias
            if i in ACTIVE:
                np.maximum(h, 0, out=h)
        h -= batch
        h *= np.float32(2 / batch.size)
        for i in reversed(range(len(layers))):
            np.matmul(h.T, inputs[i], out=by_weights[i])
            h.sum(axis=0, out=by_biases[i])
            if i:
                h = h @ weights[i]
            if i - 1 in ACTIVE:
                h *= inputs[i] > 0
        move()
    return _apply(module)


def _adam(vector, grad):
    """What moves a vector against its gradient, in place (Kingma and Ba, 2015)."""
    beta1, beta2, step = 0.9, 0.999, 0
    mean, square = np.zeros_like(vector), np.zeros_like(vector)
    scratch = np.empty_like(vector)

    def move():
        nonlocal step
        step += 1
        np.multiply(grad, 1 - beta1, out=scratch)
        np.multiply(mean, beta1, out=mean)
        np.add(mean, scratch, out=mean)
        np.multiply(grad, grad, out=scratch)
        np.multiply(scratch, 1 - beta2, out=scratch)
        np.multiply(square, beta2, out=square)
        np.add(square, scratch, out=square)
        np.sqrt(square, out=scratch)
        np.add(scratch, 1e-8 * (1 - beta2**step) ** 0.5, out=scratch)
        np.divide(mean, scratch, out=scratch)
        rate = RATE * (1 - beta2**step) ** 0.5 / (1 - beta1**step)
        np.multiply(scratch, rate, out=scratch)
        np.subtract(vector, scratch, out=vector)

    return move


def mlp_regressor(X, seed, n_epochs):
    """scikit-learn's own."""
    model = MLPAutoencoder(
        hidden_layer_sizes=(WIDE, CODE, WIDE),
        batch_size=BATCH,
        max_iter=n_epochs,
        alpha=0,
        tol=0,
        random_state=seed,
    ).fit(X)
    return model.predict


def stock_skorch(X, seed, n_epochs):
    """Skorch as it comes."""
    net = NeuralNetRegressor(
        _module(X, seed),
        optimizer=torch.optim.Adam,
        lr=RATE,
        max_epochs=n_epochs,
        batch_size=BATCH,
        iterator_train__shuffle=True,
        train_split=None,
        verbose=0,
    ).fit(X, X)
    return net.predict


def pyod(X, seed, n_epochs):
    """PyOD's, without batch norm and dropout."""
    from pyod.models.auto_encoder import AutoEncoder

    model = AutoEncoder(
        lr=RATE,
        epoch_num=n_epochs,
        batch_size=BATCH,
        random_state=seed,
        verbose=0,
        optimizer_params={},
        hidden_neuron_list=[WIDE, CODE],
        batch_norm=False,
        dropout_rate=0,
    ).fit(X)
    return _apply(model.model.eval())


def keras(X, seed, n_epochs):
    """Keras on torch."""
    os.environ.setdefault("KERAS_BACKEND", "torch")
    import keras as k

    k.utils.set_random_seed(seed)
    hidden = [k.layers.Dense(n, "relu") for n in (WIDE, CODE, WIDE)]
    model = k.Sequential([*hidden, k.layers.Dense(X.shape[1])])
    model.compile(k.optimizers.Adam(RATE), "mse")
    model.fit(X, X, batch_size=BATCH, epochs=n_epochs, verbose=0)
    return partial(model.predict, verbose=0)


def ours(X, seed, n_epochs):
    """AutoencoderTransformer: its schedule and its monitor included."""
    n_steps = n_epochs * -(-len(X) // BATCH)
    per_iteration = min(-(-len(X) // BATCH), 50)
    model = AutoencoderTransformer(
        CODE,
        hidden_layer_sizes=(WIDE,),
        activation="relu",
        init="random",
        scale=None,
        alpha=0.0,
        batch_size=BATCH,
        # One cycle ends at zero: of this peak it gets as far as the constant rate.
        learning_rate_init=3 * RATE,
        max_iter=round(n_steps / per_iteration),
        n_iter_no_change=n_steps,
        early_stopping=False,
        random_state=seed,
    ).fit(X)
    return model.reconstruct


LOOPS = {
    "matrix products": products,
    "bare torch": bare,
    "torch, flat": flat,
    "numpy, by hand": manual_backward,
    "MLPRegressor": mlp_regressor,
    "skorch": stock_skorch,
    "PyOD": pyod,
    "Keras": keras,
    "ours": ours,
}
NEEDS = {"PyOD": "pyod", "Keras": "keras"}
LOOPS = {k: f for k, f in LOOPS.items() if k not in NEEDS or find_spec(NEEDS[k])}
