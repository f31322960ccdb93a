"""What a prediction is trained for, on rows with a label and on rows without.

Outputs are of shape (n, n_outputs): logits of classes, or numbers in units of their
standard deviation. Terms return one number a row, shape (n,).
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

# Of the step by which the direction that changes an output most is looked for, as a
# share of the radius.
PROBE = 0.1
# Steps of the bisection for a temperature; the highest one.
N_HALVINGS, MAX_TEMPERATURE = 30, 1e3


class ClassificationObjective:
    """Logits of classes.

    Parameters
    ----------
    prior : Tensor of shape (n_classes,)
        Share of each class, by weight, all above 0.
    log_weight : Tensor of shape (n_classes,)
        Logarithm of the classes' weights. A network that tells all its rows rightly is
        the same whatever they weigh; what is learnt is therefore the classes as they
        are, and logits are by the weights' logarithms above (Menon, A. K., et al.,
        2021. Long-tail learning via logit adjustment. ICLR).
    """

    def __init__(self, prior: Tensor, log_weight: Tensor) -> None:
        self.prior = prior
        self.log_weight = log_weight

    def losses(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy of the classes (n,), in nats."""
        return cross_entropy(self.unweighted(outputs), target, reduction="none")

    def unweighted(self, outputs: Tensor) -> Tensor:
        """Logits (n, n_classes) as they would be if all classes weighed the same."""
        return outputs - self.log_weight.to(outputs)

    def validation_loss(
        self, outputs: Tensor, target: Tensor, weight: Tensor
    ) -> Tensor:
        """Cross-entropy at the temperature that suits these rows best."""
        outputs = self.unweighted(outputs)
        softened = outputs / temperature(outputs, target, weight)
        return cross_entropy(softened, target, reduction="none")

    def divergence(self, outputs: Tensor, others: Tensor) -> Tensor:
        """Kullback-Leibler divergence of the others' probabilities from outputs'."""
        log_p, log_q = outputs.log_softmax(1), others.log_softmax(1)
        return (log_p.exp() * (log_p - log_q)).sum(dim=1)

    def negative_mutual_information(self, outputs: Tensor, weight: Tensor) -> Tensor:
        """Entropy of a row's classes, and how the mean row differs from the prior.

        The first asks for a clear answer to each row, the second that not all answers
        are the same: together, what an answer tells of its row (Krause, A., Perona, P.
        and Gomes, R., 2010. Discriminative clustering by regularized information
        maximization. NeurIPS).
        """
        log_p = outputs.log_softmax(1)
        prior, floor = self.prior.to(outputs), torch.finfo(outputs.dtype).tiny
        mean = weight @ log_p.exp() / weight.sum().clamp(min=floor)
        apart = (prior * (prior / mean.clamp(min=floor)).log()).sum()
        return apart - (log_p.exp() * log_p).sum(dim=1)


class RegressionObjective:
    """Numbers in units of their standard deviation."""

    def losses(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Squared error."""
        return (outputs - target).square().mean(dim=1)

    def validation_loss(
        self, outputs: Tensor, target: Tensor, weight: Tensor
    ) -> Tensor:
        """Squared error."""
        return self.losses(outputs, target)

    def divergence(self, outputs: Tensor, others: Tensor) -> Tensor:
        """Squared difference."""
        return self.losses(outputs, others)

    def negative_mutual_information(self, outputs: Tensor, weight: Tensor) -> Tensor:
        """None: a number is as clear as any other."""
        return torch.zeros_like(outputs[:, 0])


def virtual_adversarial(
    function: Callable[[Tensor], Tensor],
    divergence: Callable[[Tensor, Tensor], Tensor],
    x: Tensor,
    outputs: Tensor,
    radius: float,
    generator: torch.Generator,
) -> Tensor:
    """How much outputs change within ``radius`` of each row, at the most.

    The direction is found by one step of the power method from a random one.

    Parameters
    ----------
    function : callable
        Rows (n, n_features) to outputs (n, n_outputs).
    divergence : callable
        Of two outputs, (n,).
    x : Tensor of shape (n, n_features)
    outputs : Tensor of shape (n, n_outputs)
        Of x; nothing is learnt from them.
    radius : float
        Euclidean, in units of x.
    generator : torch.Generator
        On the CPU.

    References
    ----------
    Miyato, T., et al. (2018). Virtual adversarial training: a regularization method for
    supervised and semi-supervised learning. IEEE TPAMI 41(8).
    """
    outputs = outputs.detach()
    drawn = torch.randn(x.shape, generator=generator, dtype=x.dtype).to(x.device)
    probe = (PROBE * radius * _unit(drawn)).requires_grad_()
    change = divergence(outputs, function(x + probe)).sum()
    (gradient,) = torch.autograd.grad(change, probe)
    return divergence(outputs, function(x + radius * _unit(gradient)))


def _unit(x: Tensor) -> Tensor:
    """Rows of length one; of length zero where they have none."""
    tiny = torch.finfo(x.dtype).tiny
    # Squares of small numbers would be zero.
    x = x / x.abs().amax(dim=1, keepdim=True).clamp(min=tiny)
    return x / x.norm(dim=1, keepdim=True).clamp(min=tiny)


def temperature(outputs: Tensor, target: Tensor, weight: Tensor) -> float:
    """What logits are to be divided by: at least 1, for the least cross-entropy.

    One row more than there are is taken to be of another class, any with the same
    probability: of few rows that all are told rightly, the best would be 0 (Platt,
    1999. Probabilistic outputs for support vector machines). The loss is convex in the
    inverse, whose derivative is followed to zero.

    Parameters
    ----------
    outputs : Tensor of shape (n, n_classes)
    target : Tensor of shape (n,), int64
    weight : Tensor of shape (n,)

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
    low, high = 1 / MAX_TEMPERATURE, 1.0
    for _ in range(N_HALVINGS):
        middle = (low * high) ** 0.5
        low, high = (low, middle) if slope(middle) > 0 else (middle, high)
    return 1 / high
