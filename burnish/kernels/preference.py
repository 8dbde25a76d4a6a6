"""Preference losses, and the log-probabilities they use. All in fp32, in nats."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

_SMALLEST = 1e-7


@dataclass(frozen=True, slots=True)
class Likelihood:
    """Log-probabilities of answers."""

    sums: torch.Tensor
    """`[answers]`: log-probability of each complete answer."""
    counts: torch.Tensor
    """`[answers]`: number of tokens of each."""

    @property
    def means(self) -> torch.Tensor:
        """`[answers]`: log-probability per token."""
        return self.sums / self.counts.clamp(min=1)


def answer_likelihood(losses: torch.Tensor, places: torch.Tensor, learned: torch.Tensor) -> Likelihood:
    """Log-probability of every answer from the losses of its tokens.

    Args:
        losses: `[tokens]`, negative log-likelihood of the trained tokens, answer by answer.
        places: `[tokens]` int64, where `learned` is True, as indices into its elements.
        learned: `[answers, longest]` bool, False after the end of an answer.
    """
    table = torch.zeros(learned.numel(), dtype=losses.dtype, device=losses.device)
    table = table.index_copy(0, places, -losses).view(learned.shape)
    return Likelihood(table.sum(1), learned.sum(1))


def dpo_loss(chosen: torch.Tensor, rejected: torch.Tensor, beta: float, smoothing: float = 0.0) -> torch.Tensor:
    """`[pairs]`: direct preference optimization (arXiv 2305.18290, eq. 7); with smoothing, conservative DPO, which
    assumes this share of pairs to be swapped (Mitchell 2023, "A note on DPO with noisy preferences").

    Args:
        chosen: `[pairs]`, log-ratio of the model to the reference model on the better answer.
        rejected: the same for the worse answer.
        beta: how closely the model is kept to the reference model.
        smoothing: assumed share of swapped pairs, from 0 to below 0.5.
    """
    margin = beta * (chosen - rejected)
    return -functional.logsigmoid(margin) * (1 - smoothing) - functional.logsigmoid(-margin) * smoothing


def ipo_loss(chosen: torch.Tensor, rejected: torch.Tensor, beta: float) -> torch.Tensor:
    """`[pairs]`: identity preference optimization (arXiv 2310.12036, eq. 17).

    Args:
        chosen: `[pairs]`, log-ratio per token on the better answer; the paper's sums would grow with its length.
        rejected: the same for the worse answer.
        beta: the paper's tau.
    """
    return (chosen - rejected - 1 / (2 * beta)) ** 2


def simpo_loss(chosen: torch.Tensor, rejected: torch.Tensor, beta: float, margin: float) -> torch.Tensor:
    """`[pairs]`: simple preference optimization (arXiv 2405.14734, eq. 6), without a reference.

    Args:
        chosen: `[pairs]`, log-probability per token of the better answer.
        rejected: the same for the worse answer.
        beta: scale of the reward.
        margin: the paper's gamma, in units of the reward.
    """
    return -functional.logsigmoid(beta * (chosen - rejected) - margin)


def cpo_loss(
    chosen: Likelihood, rejected: Likelihood, beta: float, likelihood: float, smoothing: float = 0.0
) -> torch.Tensor:
    """`[pairs]`: contrastive preference optimization (arXiv 2401.08417), without a reference.

    Args:
        chosen: likelihood of the better answers.
        rejected: likelihood of the worse answers.
        beta: scale of the reward.
        likelihood: weight of the negative log-likelihood per token of the better answer.
        smoothing: as in `dpo_loss`.
    """
    return dpo_loss(chosen.sums, rejected.sums, beta, smoothing) - likelihood * chosen.means


def orpo_loss(chosen: torch.Tensor, rejected: torch.Tensor, beta: float) -> torch.Tensor:
    """`[pairs]`: odds ratio preference optimization (arXiv 2403.07691, eq. 6 and 7), without a reference.

    Args:
        chosen: `[pairs]`, log-probability per token of the better answer.
        rejected: the same for the worse answer.
        beta: the paper's lambda.
    """
    return -chosen - beta * functional.logsigmoid(_log_odds(chosen) - _log_odds(rejected))


def kto_loss(
    ratio: torch.Tensor, good: torch.Tensor, kl: torch.Tensor, beta: float, weights: tuple[float, float]
) -> torch.Tensor:
    """`[answers]`: Kahneman-Tversky optimization (arXiv 2402.01306).

    Args:
        ratio: `[answers]`, log-ratio of the model to the reference model.
        good: `[answers]` bool, whether each was rated good.
        kl: scalar without gradient, the reference point: an estimate of the KL divergence, at least 0.
        beta: how closely the model is kept to the reference model.
        weights: weights of the good and of the bad answers.
    """
    above = beta * (ratio - kl)
    return torch.where(good, weights[0] * torch.sigmoid(-above), weights[1] * torch.sigmoid(above))


def _log_odds(log_probability: torch.Tensor) -> torch.Tensor:
    """log(p / (1 - p)) from log(p), finite even if p rounds to 1."""
    below = log_probability.clamp(max=-_SMALLEST)
    return below - torch.log(-torch.expm1(below))
