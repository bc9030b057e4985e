"""Batch normalization in recurrent networks: over the real frames of padded sequences, and inside RNN and LSTM."""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from normviz.normalization.checks import check_input, check_parameters
from normviz.normalization.methods.batch import batch_norm
from normviz.registry import Range, normalization

__all__ = ["batch_norm_lstm", "batch_norm_lstm_cell", "batch_norm_rnn", "recurrent_batch_norm"]


@normalization(
    title="Recurrent Batch Normalization",
    cite="laurent2015rnn",
    aliases=("sequence-wise batch normalization", "frame-wise batch normalization", "masked batch normalization"),
    axes={"ntd": "n t d -> d", "ntd per_step": "n t d -> t d"},
    formula=r"y = \gamma_d\,\frac{x - \mu_d}{\sqrt{\sigma^2_d + \epsilon}} + \beta_d"
    r" \quad \text{over the real frames}",
    center="mean",
    scale="std",
    use="Batches of sequences of different lengths, for what goes into a recurrent layer, not for its own loop.",
    torch="F.batch_norm(x.flatten(0, 1), None, None, weight, bias, True, eps=eps).view_as(x)",
    common_mistake="nn.BatchNorm1d knows no padding: the zeros at the end count as data, and the mean shrinks towards 0.",
)
def recurrent_batch_norm(
    x: Tensor,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    per_step: bool = False,
    eps: Annotated[float, Range(1e-12, 1.0, symbol=r"\epsilon", log=True)] = 1e-5,
) -> Tensor:
    """Normalize each feature of a batch of sequences with the mean and variance of its real frames.

    Args:
        x: (N, T, D), the features last.
        mask: (N, T) bool, true for a real frame and false for padding; None where all are real.
        weight: (D,), the scale gamma, or None for 1.
        bias: (D,), the shift beta, or None for 0.
        per_step: one statistic for each time step (frame-wise) instead of one for all steps (sequence-wise).
        eps: added to the variance under the root.

    Returns:
        The normalized activations, shape and dtype of `x`; 0 in the padding.

    Raises:
        ValueError: an unfit shape or mask, or a single real frame where a variance is needed.

    Source:
        Laurent et al. 2015, section 3: sequence-wise and frame-wise normalization.
    """
    check_input("recurrent_batch_norm", x, lowest_rank=3)
    if x.ndim != 3:
        raise ValueError(f"recurrent_batch_norm needs an input (N, T, D); received shape {tuple(x.shape)}")
    check_parameters("recurrent_batch_norm", (x.shape[2],), weight=weight, bias=bias)
    check_parameters("recurrent_batch_norm", tuple(x.shape[:2]), mask=mask)
    if eps <= 0:
        raise ValueError(f"recurrent_batch_norm needs eps above 0; received {eps:g}")
    _check_frames(x, mask, per_step)
    mask = None if mask is None else mask.to(x.device)  # (N, T)
    if per_step:
        return _per_step(x, mask, weight, bias, eps)
    frames = x.flatten(0, 1)  # (N T, D)
    if mask is None:
        return batch_norm(frames, weight=weight, bias=bias, eps=eps).view(x.shape)  # (N, T, D)
    real = mask.flatten().nonzero().squeeze(1)  # (real frames,)
    normalized = batch_norm(frames.index_select(0, real), weight=weight, bias=bias, eps=eps)  # (real frames, D)
    return torch.zeros_like(frames).index_copy_(0, real, normalized).view(x.shape)  # (N, T, D)


@normalization(
    title="Batch-Normalized RNN",
    cite="laurent2015rnn",
    aliases=("batch normalization in RNNs", "BN-RNN"),
    acts_on="blocks",
    formula=r"h_t = \tanh\big(\operatorname{BN}(W x_t) + U h_{t-1}\big), \quad"
    r" \operatorname{BN}(z) = \gamma\,\frac{z - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta",
    use="Plain recurrent layers, stacked: only the step from the input to the hidden state is normalized.",
    common_mistake="nn.RNN has no place for a norm; wrapping its whole sum in one normalizes the recurrent term too, "
    "which did not help in the paper.",
)
def batch_norm_rnn(
    x: Tensor,
    weight: Tensor,
    recurrent: Tensor,
    mask: Tensor | None = None,
    per_step: bool = True,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    eps: Annotated[float, Range(1e-12, 1.0, symbol=r"\epsilon", log=True)] = 1e-5,
) -> Tensor:
    r"""Run a recurrent layer whose input term alone is batch-normalized, from a hidden state of zeros.

    Args:
        x: (N, T, D), the inputs, or the hidden states of the layer below.
        weight: W, (H, D), from the input to the hidden state.
        recurrent: U, (H, H), from one step to the next.
        mask: (N, T) bool, true for a real frame and false for padding; None where all are real.
        per_step: statistics for each time step (frame-wise) instead of one for the whole batch (sequence-wise).
        gamma: (H,), the norm's scale, or None for 1.
        beta: (H,), the norm's shift, which is the layer's bias too, or None for 0.
        eps: added to the variance under the root.

    Returns:
        The hidden states, (N, T, H); 0 in the padding.

    Raises:
        ValueError: unfit shapes, or a single real frame where a variance is needed.

    Source:
        Laurent et al. 2015, section 3: BN of the input-to-hidden term alone.
    """
    check_input("batch_norm_rnn", x, lowest_rank=3)
    hidden = len(recurrent)
    check_parameters("batch_norm_rnn", (hidden, x.shape[2]), weight=weight)
    check_parameters("batch_norm_rnn", (hidden, hidden), recurrent=recurrent)
    term = recurrent_batch_norm(F.linear(x, weight), mask, gamma, beta, per_step, eps)  # (N, T, H)
    h = term.new_zeros(len(x), hidden)  # (N, H)
    states = []
    for step in term.unbind(1):
        h = torch.tanh(step + F.linear(h, recurrent))  # (N, H)
        states.append(h)
    y = torch.stack(states, 1)  # (N, T, H)
    return y if mask is None else y.masked_fill(~mask[..., None].to(y.device), 0)


@normalization(
    title="Batch-Normalized LSTM",
    cite="cooijmans2016recurrent",
    aliases=("batch normalization in LSTMs", "BN-LSTM"),
    acts_on="blocks",
    formula=r"(i, f, g, o) = \operatorname{BN}(W_h h_{t-1}) + \operatorname{BN}(W_x x_t) + b, \quad"
    r" c_t = \sigma(f) \odot c_{t-1} + \sigma(i) \odot \tanh g, \quad"
    r" h_t = \sigma(o) \odot \tanh \operatorname{BN}(c_t), \quad"
    r" \operatorname{BN}(z) = \gamma\,\frac{z - \mu}{\sqrt{\sigma^2 + \epsilon}}",
    use="LSTMs on long sequences: the hidden-to-hidden step is normalized too, each time step with its own statistics.",
    common_mistake="gamma must start small: with the usual 1 the gates and the tanh are driven hard, and gradients over many "
    "steps grow or vanish.",
)
def batch_norm_lstm(
    x: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor | None = None,
    gamma: Annotated[float, Range(0.01, 2.0, symbol=r"\gamma")] = 0.1,
    eps: Annotated[float, Range(1e-12, 1.0, symbol=r"\epsilon", log=True)] = 1e-5,
) -> Tensor:
    """Run an LSTM whose two matrix products and whose cell are batch-normalized, from states of zeros.

    Args:
        x: (N, T, D).
        weight_ih: W_x, (4 H, D), its rows in PyTorch's order: input, forget, cell and output gate.
        weight_hh: W_h, (4 H, H), in the same order.
        bias: b, (4 H,), one for both products, or None for 0.
        gamma: the scale of all three norms, as they start.
        eps: added to the variance under the root.

    Returns:
        The hidden states, (N, T, H).

    Raises:
        ValueError: unfit shapes, or a batch of one.

    Source:
        Cooijmans et al. 2016, section 3: the batch-normalized LSTM, with statistics of each time step alone.
    """
    check_input("batch_norm_lstm", x, lowest_rank=3)
    hidden = weight_hh.shape[-1]
    check_parameters("batch_norm_lstm", (4 * hidden, x.shape[2]), weight_ih=weight_ih)
    check_parameters("batch_norm_lstm", (4 * hidden, hidden), weight_hh=weight_hh)
    check_parameters("batch_norm_lstm", (4 * hidden,), bias=bias)
    h = c = x.new_zeros(len(x), hidden)  # (N, H)
    states = []
    for step in x.unbind(1):
        h, c = batch_norm_lstm_cell(step, h, c, weight_ih, weight_hh, bias, gamma, eps)  # (N, H), (N, H)
        states.append(h)
    return torch.stack(states, 1)  # (N, T, H)


def batch_norm_lstm_cell(
    x: Tensor,
    h: Tensor,
    c: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor | None = None,
    gamma: float = 0.1,
    eps: float = 1e-5,
) -> tuple[Tensor, Tensor]:
    """Take one step of the batch-normalized LSTM.

    Args:
        x: (N, D), the input of this step.
        h: (N, H), the hidden state before it.
        c: (N, H), the cell before it.
        weight_ih: W_x, (4 H, D).
        weight_hh: W_h, (4 H, H).
        bias: b, (4 H,), or None for 0.
        gamma: the scale of all three norms.
        eps: added to the variance under the root.

    Returns:
        The hidden state and the cell after the step, (N, H) each; the cell is passed on without a norm.

    Raises:
        ValueError: a batch of one.

    Source:
        Cooijmans et al. 2016, section 3.
    """
    inputs, memory = (batch_norm(z, eps=eps) for z in (F.linear(x, weight_ih), F.linear(h, weight_hh)))  # (N, 4 H)
    gates = gamma * (inputs + memory) if bias is None else gamma * (inputs + memory) + bias  # (N, 4 H)
    enter, keep, new, leave = gates.chunk(4, 1)  # (N, H) each
    c = torch.sigmoid(keep) * c + torch.sigmoid(enter) * torch.tanh(new)  # (N, H)
    return torch.sigmoid(leave) * torch.tanh(gamma * batch_norm(c, eps=eps)), c  # (N, H), (N, H)


def _check_frames(x: Tensor, mask: Tensor | None, per_step: bool) -> None:
    """Refuse a mask that is not bool, and a single real frame, which has no variance."""
    if mask is not None and mask.dtype != torch.bool:
        raise ValueError(f"recurrent_batch_norm needs a mask of bool, true for real frames; received {mask.dtype}")
    real = torch.ones(x.shape[:2], dtype=torch.bool) if mask is None else mask  # (N, T)
    frames = real.sum(0) if per_step else real.sum()[None]  # (T,) or (1,)
    if bool((frames == 1).any()):
        where = f"step {int((frames == 1).int().argmax()) + 1} of the batch" if per_step else "the batch"
        remedy = "drop the step, add sequences, or set per_step=False" if per_step else "add frames"
        raise ValueError(
            "recurrent_batch_norm needs more than one real frame for a variance; "
            f"{where} of shape {tuple(x.shape)} has one: {remedy}"
        )
    if not bool(real.any()):
        raise ValueError(f"recurrent_batch_norm needs real frames; the mask of shape {tuple(real.shape)} has none")


def _per_step(x: Tensor, mask: Tensor | None, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """Each time step with the statistics of its own real frames; a step without any stays 0."""
    if mask is None:
        steps = x.shape[1]
        weight = None if weight is None else weight.repeat(steps)  # (T D,)
        bias = None if bias is None else bias.repeat(steps)  # (T D,)
        return batch_norm(x.flatten(1), weight=weight, bias=bias, eps=eps).view(x.shape)  # (N, T, D)
    values = x if x.dtype in (torch.float32, torch.float64) else x.float()  # (N, T, D)
    real = mask[..., None]  # (N, T, 1)
    frames = real.sum(0).clamp_min(1)  # (T, 1)
    kept = values.where(real, 0)  # (N, T, D): whatever stands in the padding, NaN too, is gone
    centered = kept.sub_(kept.sum(0) / frames).mul_(real)  # (N, T, D)
    gain = (centered.square().sum(0) / frames + eps).rsqrt()  # (T, D)
    y = centered * (gain if weight is None else gain * weight)  # (N, T, D)
    return (y if bias is None else y.addcmul_(real.to(y), bias.to(y))).to(x.dtype)
