"""Batch normalization of padded sequences, and inside the recurrence of an RNN and an LSTM."""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from normviz.normalization.checks import at_least_float32, check_input, check_parameters
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
    use="For the inputs of a recurrent layer, in batches of sequences of different lengths; not for its recurrence.",
    torch="F.batch_norm(x.flatten(0, 1), None, None, weight, bias, True, eps=eps).view_as(x)",
    common_mistake="nn.BatchNorm1d does not know about padding: zeros at the end count as data and pull the mean "
    "towards 0.",
)
def recurrent_batch_norm(
    x: Tensor,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    per_step: bool = False,
    eps: Annotated[float, Range(1e-12, 1.0, symbol=r"\epsilon", log=True)] = 1e-5,
) -> Tensor:
    """Normalize each feature of a batch of sequences with its mean and variance over all frames that are not padding.

    Args:
        x: (N, T, D), the features last.
        mask: (N, T) bool, true for a real frame and false for padding; None without padding.
        weight: (D,), the scale gamma, or None for 1.
        bias: (D,), the shift beta, or None for 0.
        per_step: whether each time step has its own statistics (frame-wise) instead of sharing them (sequence-wise).
        eps: added to the variance under the square root.

    Returns:
        The normalized activations, shape and dtype of `x`; 0 in the padding.

    Raises:
        ValueError: an invalid shape or mask, or a single real frame, which has no variance.

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
    use="Stacked plain recurrent layers: only the input-to-hidden term is normalized.",
    common_mistake="nn.RNN has no norm inside. Normalizing the whole sum also normalizes the recurrent term, which "
    "did not help in the paper.",
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
    r"""Run a recurrent layer that batch-normalizes its input-to-hidden term, from a hidden state of zeros.

    Args:
        x: (N, T, D), the inputs, or the hidden states of the previous layer.
        weight: W, (H, D), the input-to-hidden weight.
        recurrent: U, (H, H), the hidden-to-hidden weight.
        mask: (N, T) bool, true for a real frame and false for padding; None without padding.
        per_step: whether each time step has its own statistics (frame-wise) instead of sharing them (sequence-wise).
        gamma: (H,), the scale of the norm, or None for 1.
        beta: (H,), the shift of the norm, which is also the bias of the layer, or None for 0.
        eps: added to the variance under the square root.

    Returns:
        The hidden states, (N, T, H); 0 in the padding.

    Raises:
        ValueError: invalid shapes, or a single real frame, which has no variance.

    Source:
        Laurent et al. 2015, section 3: batch norm of the input-to-hidden term only.
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
    use="LSTMs on long sequences: the hidden-to-hidden term is also normalized, with separate statistics per time "
    "step.",
    common_mistake="Gamma must start small: with the usual 1 the gates and the tanh saturate, and gradients over many "
    "steps vanish or explode.",
)
def batch_norm_lstm(
    x: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor | None = None,
    gamma: Annotated[float, Range(0.01, 2.0, symbol=r"\gamma")] = 0.1,
    eps: Annotated[float, Range(1e-12, 1.0, symbol=r"\epsilon", log=True)] = 1e-5,
) -> Tensor:
    """Run an LSTM that batch-normalizes both matrix products and the cell, from states of zeros.

    Args:
        x: (N, T, D).
        weight_ih: W_x, (4 H, D), rows in PyTorch's order: input, forget, cell and output gate.
        weight_hh: W_h, (4 H, H), in the same order.
        bias: b, (4 H,), one for both products, or None for 0.
        gamma: the initial scale of all three norms.
        eps: added to the variance under the square root.

    Returns:
        The hidden states, (N, T, H).

    Raises:
        ValueError: invalid shapes, or a batch of one sample.

    Source:
        Cooijmans et al. 2016, section 3, with separate statistics for each time step.
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
    """Compute one step of the batch-normalized LSTM.

    Args:
        x: (N, D), the input of this step.
        h: (N, H), the previous hidden state.
        c: (N, H), the previous cell.
        weight_ih: W_x, (4 H, D).
        weight_hh: W_h, (4 H, H).
        bias: b, (4 H,), or None for 0.
        gamma: the scale of all three norms.
        eps: added to the variance under the square root.

    Returns:
        The next hidden state and cell, (N, H) each; the returned cell is not normalized.

    Raises:
        ValueError: a batch of one sample.

    Source:
        Cooijmans et al. 2016, section 3.
    """
    inputs, memory = (batch_norm(z, eps=eps) for z in (F.linear(x, weight_ih), F.linear(h, weight_hh)))  # (N, 4 H)
    gates = gamma * (inputs + memory) if bias is None else gamma * (inputs + memory) + bias  # (N, 4 H)
    input_gate, forget_gate, new, output_gate = gates.chunk(4, 1)  # (N, H) each
    c = torch.sigmoid(forget_gate) * c + torch.sigmoid(input_gate) * torch.tanh(new)  # (N, H)
    return torch.sigmoid(output_gate) * torch.tanh(gamma * batch_norm(c, eps=eps)), c  # (N, H), (N, H)


def _check_frames(x: Tensor, mask: Tensor | None, per_step: bool) -> None:
    """Raise ValueError for a mask that is not bool, or a single real frame, which has no variance."""
    if mask is not None and mask.dtype != torch.bool:
        raise ValueError(f"recurrent_batch_norm needs a bool mask, true for real frames; received {mask.dtype}")
    real = torch.ones(x.shape[:2], dtype=torch.bool) if mask is None else mask  # (N, T)
    frames = real.sum(0) if per_step else real.sum()[None]  # (T,) or (1,)
    if bool((frames == 1).any()):
        where = f"step {int((frames == 1).int().argmax())} of the batch" if per_step else "the batch"
        remedy = "drop the step, add sequences, or set per_step=False" if per_step else "add frames"
        raise ValueError(
            "recurrent_batch_norm needs more than one real frame to compute a variance; "
            f"{where} of shape {tuple(x.shape)} has one: {remedy}"
        )
    if not bool(real.any()):
        raise ValueError(f"recurrent_batch_norm needs real frames; the mask of shape {tuple(real.shape)} has none")


def _per_step(x: Tensor, mask: Tensor | None, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """Normalize each time step with the statistics of its real frames; steps without real frames become 0."""
    if mask is None:
        steps = x.shape[1]
        weight = None if weight is None else weight.repeat(steps)  # (T D,)
        bias = None if bias is None else bias.repeat(steps)  # (T D,)
        return batch_norm(x.flatten(1), weight=weight, bias=bias, eps=eps).view(x.shape)  # (N, T, D)
    values = at_least_float32(x)  # (N, T, D)
    real = mask[..., None]  # (N, T, 1)
    frames = real.sum(0).clamp_min(1)  # (T, 1)
    kept = values.where(real, 0)  # (N, T, D); also removes NaN in the padding
    centered = kept.sub_(kept.sum(0) / frames).mul_(real)  # (N, T, D)
    gain = (centered.square().sum(0) / frames + eps).rsqrt()  # (T, D)
    y = centered * (gain if weight is None else gain * weight)  # (N, T, D)
    return (y if bias is None else y.addcmul_(real.to(y), bias.to(y))).to(x.dtype)
