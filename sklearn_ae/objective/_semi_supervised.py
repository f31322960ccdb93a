"""Losses of semi-supervised classification and regression.

Outputs have shape (n, n_outputs): logits of classes, or standardised numbers. Each loss
returns one number per row, shape (n,).
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy


class ClassificationObjective:
    """Cross-entropy with logit adjustment, and terms for unlabelled rows.

    Parameters
    ----------
    prior : Tensor of shape (n_classes,)
        Weighted share of each class, all above 0.
    log_weight : Tensor of shape (n_classes,)
        Logarithms of the class weights, which outputs include as an offset. Weighting
        the loss instead would have no effect on a network that separates its training
        rows (Menon, A. K., et al., 2021. Long-tail learning via logit adjustment.
        ICLR).
    """

    def __init__(self, prior: Tensor, log_weight: Tensor) -> None:
        self.prior = prior
        self.log_weight = log_weight

    def losses(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Return the cross-entropy (n,), in nats, of target (n,)."""
        return cross_entropy(self.unweighted(outputs), target, reduction="none")

    def unweighted(self, outputs: Tensor) -> Tensor:
        """Return outputs (n, n_classes) without the offset of the class weights."""
        return outputs - self.log_weight.to(outputs)

    def validation_loss(
        self, outputs: Tensor, target: Tensor, weight: Tensor
    ) -> Tensor:
        """Return the cross-entropy (n,) at the temperature fitted to these rows."""
        outputs = self.unweighted(outputs)
        softened = outputs / temperature(outputs, target, weight)
        return cross_entropy(softened, target, reduction="none")

    def divergence(self, outputs: Tensor, others: Tensor) -> Tensor:
        """Return ``KL(softmax(outputs) || softmax(others))`` (n,)."""
        log_p, log_q = outputs.log_softmax(1), others.log_softmax(1)
        return (log_p.exp() * (log_p - log_q)).sum(dim=1)

    def negative_mutual_information(self, outputs: Tensor, weight: Tensor) -> Tensor:
        """Return the conditional entropy (n,) plus a class-balance term.

        The balance term is ``KL(prior || mean prediction)``. With a uniform prior and
        the divergence reversed, the sum is the negative mutual information of rows and
        predicted classes, up to a constant (Krause, A., Perona, P. and Gomes, R., 2010.
        Discriminative clustering by regularized information maximization. NeurIPS).
        """
        log_p = outputs.log_softmax(1)
        prior, floor = self.prior.to(outputs), torch.finfo(outputs.dtype).tiny
        mean = weight @ log_p.exp() / weight.sum().clamp(min=floor)
        balance = (prior * (prior / mean.clamp(min=floor)).log()).sum()
        return balance - (log_p.exp() * log_p).sum(dim=1)


class RegressionObjective:
    """Squared error of standardised numbers."""

    def losses(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Return the squared error (n,)."""
        return (outputs - target).square().mean(dim=1)

    def validation_loss(
        self, outputs: Tensor, target: Tensor, weight: Tensor
    ) -> Tensor:
        """Return the squared error (n,)."""
        return self.losses(outputs, target)

    def divergence(self, outputs: Tensor, others: Tensor) -> Tensor:
        """Return the squared difference (n,)."""
        return self.losses(outputs, others)

    def negative_mutual_information(self, outputs: Tensor, weight: Tensor) -> Tensor:
        """Return zeros (n,): a point prediction has no entropy."""
        return torch.zeros_like(outputs[:, 0])


def virtual_adversarial(
    function: Callable[[Tensor], Tensor],
    divergence: Callable[[Tensor, Tensor], Tensor],
    x: Tensor,
    outputs: Tensor,
    radius: float,
    generator: torch.Generator,
) -> Tensor:
    """Virtual adversarial loss: divergence at the worst perturbation of each row.

    The perturbation has norm ``radius``; its direction is found by one power iteration
    from a random one.

    Parameters
    ----------
    function : callable
        Maps rows (n, n_features) to outputs (n, n_outputs).
    divergence : callable
        Maps two outputs to (n,).
    x : Tensor of shape (n, n_features)
    outputs : Tensor of shape (n, n_outputs)
        ``function(x)``; they are detached.
    radius : float
        Euclidean norm of a perturbation, in units of x.
    generator : torch.Generator
        Draws the first direction, on the CPU.

    References
    ----------
    Miyato, T., et al. (2018). Virtual adversarial training: a regularization method for
    supervised and semi-supervised learning. IEEE TPAMI 41(8).
    """
    outputs = outputs.detach()
    drawn = torch.randn(x.shape, generator=generator, dtype=x.dtype).to(x.device)
    # The power iteration's finite difference: xi in the paper.
    probe = (0.1 * radius * _unit(drawn)).requires_grad_()
    change = divergence(outputs, function(x + probe)).sum()
    (gradient,) = torch.autograd.grad(change, probe)
    return divergence(outputs, function(x + radius * _unit(gradient)))


def _unit(x: Tensor) -> Tensor:
    """Scale rows to unit length; rows of zeros stay zero."""
    tiny = torch.finfo(x.dtype).tiny
    # Squares of small numbers would underflow.
    x = x / x.abs().amax(dim=1, keepdim=True).clamp(min=tiny)
    return x / x.norm(dim=1, keepdim=True).clamp(min=tiny)


def temperature(outputs: Tensor, target: Tensor, weight: Tensor) -> float:
    """Return the softmax temperature, from 1 to 1,000, of least cross-entropy.

    Targets are smoothed towards the uniform distribution by ``1 / (n + 2)``: without
    it, the best temperature of few rows that are all classified correctly would be 0
    (Platt, J., 1999. Probabilistic outputs for support vector machines). The loss is
    convex in the inverse temperature: bisection finds the root of its derivative.

    Parameters
    ----------
    outputs : Tensor of shape (n, n_classes)
        Logits.
    target : Tensor of shape (n,), int64
    weight : Tensor of shape (n,)

    Returns
    -------
    temperature : float

    References
    ----------
    Guo, C., et al. (2017). On calibration of modern neural networks. ICML.
    """
    logits = outputs.detach().double()
    true = logits.gather(1, target[:, None])[:, 0]
    true = torch.lerp(true, logits.mean(dim=1), 1 / (len(target) + 2))

    def slope(inverse: float) -> float:
        mean = ((inverse * logits).softmax(1) * logits).sum(dim=1)
        return float(weight.double() @ (mean - true))

    if not logits.isfinite().all() or slope(1.0) <= 0:
        return 1.0
    low, high = 1 / 1e3, 1.0
    # Thirty halvings of the logarithm: a relative precision of 1e-8.
    for _ in range(30):
        middle = (low * high) ** 0.5
        low, high = (low, middle) if slope(middle) > 0 else (middle, high)
    return 1 / high
