"""Batch normalization, its running statistics, and variants that use parts of a batch."""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from normviz.normalization.checks import at_least_float32, check_input, check_parameters, per_channel
from normviz.registry import Range, Value, normalization

__all__ = [
    "batch_group_norm",
    "batch_norm",
    "batch_norm_arithmetic",
    "ghost_batch_norm",
    "identity_parameters",
    "inference_example_weighing",
    "running_statistics",
]


@normalization(
    title="Batch Normalization",
    cite="ioffe2015batch",
    aliases=(
        "BN", "BatchNorm", "BatchNorm1d", "BatchNorm2D", "Spatial BatchNorm", "per-channel BatchNorm",
        "input normalization",
    ),
    axes={
        "nc training": "n c -> c",
        "ntd training": "n d t -> d",
        "nchw training": "n c h w -> c",
        "ncdhw training": "n c d h w -> c",
    },
    formula=r"y = \gamma_c\,\frac{x - \mu_c}{\sqrt{\sigma^2_c + \epsilon}} + \beta_c",
    center="mean",
    scale="std",
    use="Convolutional networks that train on batches of at least 16 samples.",
    torch="F.batch_norm(x, running_mean, running_var, weight, bias, training, eps=eps)",
    common_mistake="nn.BatchNorm1d expects (N, D, T); given (N, T, D) with T equal to num_features, it silently "
    "normalizes time steps instead of features.",
)  # fmt: skip
def batch_norm(
    x: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = True,
    eps: Annotated[float, Range(1e-12, 1.0, symbol=r"\epsilon", log=True)] = 1e-5,
) -> Tensor:
    """Normalize each channel with the mean and variance of the batch, or with running statistics.

    The running statistics are not updated here: `running_statistics` returns their next values. The computation
    runs in PyTorch's kernel; `batch_norm_arithmetic` shows it step by step.

    Args:
        x: (N, C) or (N, C, ...); a sequence must be (N, D, T), not (N, T, D).
        running_mean: (C,), the mean if `training` is false.
        running_var: (C,), the variance if `training` is false.
        weight: (C,), the scale gamma, or None for 1.
        bias: (C,), the shift beta, or None for 0.
        training: whether to use the mean and biased variance of the batch instead of the running statistics.
        eps: added to the variance under the square root.

    Returns:
        The normalized activations, shape and dtype of `x`.

    Raises:
        ValueError: an invalid shape, one value per channel in training, or no running statistics at inference.

    Source:
        Ioffe & Szegedy 2015, Algorithms 1 and 2.
    """
    check_input("batch_norm", x)
    check_parameters(
        "batch_norm", (x.shape[1],), running_mean=running_mean, running_var=running_var, weight=weight, bias=bias
    )
    if training:
        _check_batch("batch_norm", x)
        if eps <= 0:
            raise ValueError(f"batch_norm in training needs eps above 0; received {eps:g}")
        maps = x.unsqueeze(-1) if x.ndim == 3 else x  # (N, D, T, 1), for which the kernel is 10 times as fast
        return F.batch_norm(maps, None, None, weight, bias, training=True, eps=eps).reshape(x.shape)  # (N, C, ...)
    if running_mean is None or running_var is None:
        raise ValueError(
            "batch_norm with training=False needs running_mean and running_var: "
            "compute them with running_statistics, or set training=True"
        )
    return F.batch_norm(x, running_mean, running_var, weight, bias, training=False, eps=eps)  # (N, C, ...)


def batch_norm_arithmetic(
    x: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = True,
    eps: float = 1e-5,
) -> Tensor:
    """Compute `batch_norm` step by step; arguments and result are the same, but inputs are not checked.

    PyTorch's kernel avoids the intermediate tensors and is 2 to 3 times as fast on feature maps (docs/BENCHMARKS.md).

    Source:
        Ioffe & Szegedy 2015, Algorithm 1.
    """
    values = at_least_float32(x)  # (N, C, H, W), as an example
    if training or running_mean is None or running_var is None:
        axes = (0, *range(2, x.ndim))
        mean = values.mean(axes, keepdim=True)  # (1, C, 1, 1)
        var = (values - mean).square().mean(axes, keepdim=True)  # (1, C, 1, 1)
    else:
        mean, var = per_channel(running_mean, x), per_channel(running_var, x)  # (C, 1, 1), (C, 1, 1)
    y = (values - mean) / (var + eps).sqrt()  # (N, C, H, W)
    y = y if weight is None else y * per_channel(weight, x)  # (N, C, H, W)
    y = y if bias is None else y + per_channel(bias, x)  # (N, C, H, W)
    return y.to(x.dtype)  # (N, C, H, W)


def identity_parameters(x: Tensor, eps: float = 1e-5) -> tuple[Tensor, Tensor]:
    """Compute the weight and bias with which `batch_norm` in training returns its input.

    Args:
        x: the batch, (N, C) or (N, C, ...).
        eps: the same as in `batch_norm`.

    Returns:
        Weight (C,), the square root of variance + eps, and bias (C,), the mean of each channel.

    Raises:
        ValueError: an invalid shape, or one value per channel.

    Source:
        Ioffe & Szegedy 2015, section 3: gamma and beta can restore the original activations.
    """
    check_input("identity_parameters", x)
    _check_batch("identity_parameters", x)
    shared = [axis for axis in range(x.ndim) if axis != 1]
    variance, mean = torch.var_mean(x, dim=shared, correction=0)  # (C,), (C,)
    return (variance + eps).sqrt(), mean  # (C,), (C,)


def running_statistics(
    x: Tensor, running_mean: Tensor, running_var: Tensor, momentum: float = 0.1
) -> tuple[Tensor, Tensor]:
    """Compute the running mean and variance after one more training batch; the arguments are not changed.

    Args:
        x: the batch, (N, C) or (N, C, ...).
        running_mean: (C,), the mean before this batch; nn.BatchNorm starts at 0.
        running_var: (C,), the variance before this batch; nn.BatchNorm starts at 1.
        momentum: the weight of the new value, 0 to 1.

    Returns:
        Mean (C,) and variance (C,): (1 - momentum) * old + momentum * new. The new variance is unbiased
        (divided by n - 1 for n values), although training normalizes with the biased variance.

    Raises:
        ValueError: an invalid shape, one value per channel, or a momentum outside 0 to 1.

    Source:
        Ioffe & Szegedy 2015, Algorithm 2, step 10 (the unbiased variance).
    """
    check_input("running_statistics", x)
    check_parameters("running_statistics", (x.shape[1],), running_mean=running_mean, running_var=running_var)
    _check_batch("running_statistics", x)
    if not 0 <= momentum <= 1:
        raise ValueError(f"momentum, the weight of the new value, must be from 0 to 1; received {momentum:g}")
    shared = [axis for axis in range(x.ndim) if axis != 1]
    variance, mean = torch.var_mean(x, dim=shared, correction=1)  # (C,), (C,)
    keep = 1 - momentum
    return (
        (keep * running_mean + momentum * mean).to(running_mean.dtype),  # (C,)
        (keep * running_var + momentum * variance).to(running_var.dtype),  # (C,)
    )


def ghost_order(samples: int, shuffle: int = 0, **settings: Value) -> Tensor:
    """The order of the samples in which `ghost_batch_norm` splits them into sub-batches.

    Args:
        samples: the number of samples, N.
        shuffle: the seed of the permutation.
        **settings: the other knobs of the method, which are ignored.

    Returns:
        The index of the sample at each position, (N,), int64.
    """
    return torch.randperm(samples, generator=torch.Generator().manual_seed(shuffle))  # (N,)


@normalization(
    title="Ghost Batch Normalization",
    cite="hoffer2017train",
    aliases=("ghost batching", "GhostBatchNorm", "GBN"),
    axes={
        "nc": "(n g) c -> n c",
        "ntd": "(n g) d t -> n d",
        "nchw": "(n g) c h w -> n c",
        "ncdhw": "(n g) c d h w -> n c",
    },
    formula=r"y = \gamma_c\,\frac{x - \mu_{kc}}{\sqrt{\sigma^2_{kc} + \epsilon}} + \beta_c,"
    r" \quad k = \lfloor \pi_s(n) / g \rfloor",
    center="mean",
    scale="std",
    use="Very large batches: small sub-batches add noise to the statistics, which improves generalization.",
    common_mistake="PyTorch has no such layer. Without shuffling, samples that are adjacent in the data always share "
    "a sub-batch.",
    batch_order=ghost_order,
)
def ghost_batch_norm(
    x: Tensor,
    size: Annotated[int, Range(1, 1024, symbol="g", log=True)] = 16,
    shuffle: Annotated[int, Range(0, 9999, symbol="s")] = 0,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: Annotated[float, Range(1e-12, 1.0, symbol=r"\epsilon", log=True)] = 1e-5,
) -> Tensor:
    """Shuffle the batch, split it into sub-batches, normalize each separately, and restore the order.

    Args:
        x: (N, C) or (N, C, ...); a sequence is (N, D, T).
        size: the number of samples in a sub-batch; the last one may be smaller, but not a single sample.
        shuffle: the seed of the permutation.
        weight: (C,), the scale gamma, or None for 1.
        bias: (C,), the shift beta, or None for 0.
        eps: added to the variance under the square root.

    Returns:
        The normalized activations, shape and dtype of `x`; equal to `batch_norm` for a size of at least N.

    Raises:
        ValueError: an invalid shape, a sub-batch of one sample, or one value per channel in a sub-batch.

    Source:
        Hoffer, Hubara & Soudry 2017, Algorithm 1 (the normalization in training).
    """
    check_input("ghost_batch_norm", x)
    check_parameters("ghost_batch_norm", (x.shape[1],), weight=weight, bias=bias)
    samples = len(x)
    if size < 1:
        raise ValueError(f"ghost_batch_norm needs a size of at least 1; received {size}")
    if 1 < size < samples and samples % size == 1:
        raise ValueError(
            f"ghost_batch_norm needs at least 2 samples in the last sub-batch; {samples} samples in sub-batches of "
            f"{size} leave 1: choose another size"
        )
    if min(size, samples) * x[0, 0].numel() == 1:
        raise ValueError(
            "ghost_batch_norm needs more than one value per channel in each sub-batch; "
            f"shape {tuple(x.shape)} in sub-batches of {size} has one: choose a larger size or a larger batch"
        )
    position = ghost_order(samples, shuffle).argsort()  # (N,)
    return _in_batches(x, position // size, x.shape[1], weight, bias, eps)  # (N, C, ...)


@normalization(
    title="Batch Group Normalization",
    cite="summers2019four",
    aliases=("BatchNorm x GroupNorm", "batch norm and group norm combined"),
    axes={
        "nc": "(n b) (g c) -> n g",
        "ntd": "(n b) (g d) t -> n g",
        "nchw": "(n b) (g c) h w -> n g",
        "ncdhw": "(n b) (g c) d h w -> n g",
    },
    formula=r"y = \gamma_c\,\frac{x - \mu_{kg}}{\sqrt{\sigma^2_{kg} + \epsilon}} + \beta_c,"
    r" \quad B \text{ samples}, \; g = 1, \dots, G \text{ groups}",
    center="mean",
    scale="std",
    use="Batches of 2 to 8 samples, for which the statistics of group normalization alone are too noisy.",
    common_mistake="PyTorch has no such layer. The output still depends on other samples, as with batch normalization.",
)
def batch_group_norm(
    x: Tensor,
    batch_size: Annotated[int, Range(1, 1024, symbol="B", log=True)] = 4,
    num_groups: Annotated[int, Range(1, 1024, symbol="G", log=True)] = 4,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: Annotated[float, Range(1e-12, 1.0, symbol=r"\epsilon", log=True)] = 1e-5,
) -> Tensor:
    """Normalize each group of channels with its mean and variance over a few neighboring samples.

    Args:
        x: (N, C) or (N, C, ...); a sequence is (N, D, T).
        batch_size: the number of samples that share statistics; must divide N. 1 is group norm.
        num_groups: the number of groups of channels; must divide C. C groups with batch_size N are batch norm.
        weight: (C,), the scale gamma, or None for 1.
        bias: (C,), the shift beta, or None for 0.
        eps: added to the variance under the square root.

    Returns:
        The normalized activations, shape and dtype of `x`; beta where a group has a single value.

    Raises:
        ValueError: an invalid shape, or a number of samples or channels that cannot be divided.

    Source:
        Summers & Dinneen 2019, section 3.4.
    """
    check_input("batch_group_norm", x)
    check_parameters("batch_group_norm", (x.shape[1],), weight=weight, bias=bias)
    for knob, parts, axis in (("batch_size", batch_size, "N"), ("num_groups", num_groups, "C")):
        size = x.shape["NC".index(axis)]
        if parts < 1 or size % parts:
            raise ValueError(
                f"batch_group_norm needs a {knob} that divides {axis}; shape {tuple(x.shape)} has {axis} = {size}, "
                f"received {parts}: choose a divisor of {size}"
            )
    return _in_batches(x, torch.arange(len(x)) // batch_size, num_groups, weight, bias, eps)  # (N, C, ...)


@normalization(
    title="Inference Example Weighing",
    cite="summers2019four",
    aliases=("IEW", "example weighing"),
    axes={"ntd": "n d t -> n d", "nchw": "n c h w -> n c", "ncdhw": "n c d h w -> n c"},
    formula=r"y = \gamma_c\,\frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta_c, \quad"
    r" \mu = \alpha\,E[x] + (1 - \alpha)\,m_x, \quad"
    r" \sigma^2 = \alpha\,E[x^2] + (1 - \alpha)\,m_{x^2} - \mu^2",
    use="A trained network with batch normalization that is less accurate at inference; choose alpha on held-out data.",
    common_mistake="nn.BatchNorm stores a running variance, not a running mean of squares: add the square of "
    "running_mean to it first.",
)
def inference_example_weighing(
    x: Tensor,
    running_mean: Tensor | None = None,
    running_sq: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    alpha: Annotated[float, Range(0.0, 1.0, symbol=r"\alpha")] = 0.5,
    eps: Annotated[float, Range(1e-12, 1.0, symbol=r"\epsilon", log=True)] = 1e-5,
) -> Tensor:
    r"""Normalize at inference with a mixture of the running statistics and those of the sample.

    The published variance, \alpha E[x^2] + (1 - \alpha) m_{x^2} - \mu^2, is computed in the equivalent form
    \alpha V + (1 - \alpha) (m_{x^2} - m_x^2) + \alpha (1 - \alpha) (E - m_x)^2, where V is the variance of the
    sample. This form avoids a small difference of large numbers.

    Args:
        x: (N, C, ...) with more than one position; a sequence is (N, D, T).
        running_mean: (C,), the running mean m_x.
        running_sq: (C,), the running mean of x squared; use float64 if the mean is large.
        weight: (C,), the scale gamma, or None for 1.
        bias: (C,), the shift beta, or None for 0.
        alpha: the weight of the statistics of the sample: 0 is batch norm at inference, 1 is instance norm.
        eps: added to the variance under the square root.

    Returns:
        The normalized activations, shape and dtype of `x`.

    Raises:
        ValueError: an invalid shape, or no running statistics.

    Source:
        Summers & Dinneen 2019, Eq. 3.
    """
    check_input("inference_example_weighing", x, lowest_rank=3)
    check_parameters(
        "inference_example_weighing", (x.shape[1],),
        running_mean=running_mean, running_sq=running_sq, weight=weight, bias=bias,
    )  # fmt: skip
    if running_mean is None or running_sq is None:
        raise ValueError(
            "inference_example_weighing needs running_mean and running_sq: pass the running means of x and of x squared"
        )
    values = at_least_float32(x)  # (N, C, ...)
    axes, parameter = tuple(range(2, x.ndim)), (-1, *[1] * (x.ndim - 2))
    old = running_mean.to(values).view(parameter)  # (C, 1, ...)
    stored = running_sq.double() - running_mean.double().square()  # (C,)
    own = values.mean(axes, keepdim=True)  # (N, C, 1, ...)
    centered = values - own  # (N, C, ...)
    spread = centered.square().mean(axes, keepdim=True)  # (N, C, 1, ...)
    between = own - old  # (N, C, 1, ...)
    rest = stored.clamp_min(0).to(values).view(parameter) + alpha * between.square()  # (N, C, 1, ...)
    gain = (alpha * spread + (1 - alpha) * rest + eps).rsqrt()  # (N, C, 1, ...)
    gain = gain if weight is None else gain * weight.view(parameter)  # (N, C, 1, ...)
    shift = (1 - alpha) * between * gain  # (N, C, 1, ...); subtracts alpha * own + (1 - alpha) * old
    return (centered * gain).add_(shift if bias is None else shift + bias.view(parameter)).to(x.dtype)  # (N, C, ...)


def _in_batches(
    x: Tensor, batch: Tensor, num_groups: int, weight: Tensor | None, bias: Tensor | None, eps: float
) -> Tensor:
    """Normalize each group of channels over the samples with the same batch number; `batch` is (N,)."""
    batch = batch.to(x.device)  # (N,)
    counts = batch.bincount().view(-1, *[1] * x.ndim)  # (batches, 1, ...)

    def over_batch(statistic: Tensor) -> Tensor:
        """The mean of (N, G, 1, ...) over the samples of each batch, repeated for each sample."""
        total = statistic.new_zeros(len(counts), *statistic.shape[1:]).index_add(0, batch, statistic)
        return (total / counts)[batch]  # (N, G, 1, ...)

    values = at_least_float32(x)  # (N, C, ...)
    values = values.reshape(len(x), num_groups, -1, *x.shape[2:])  # (N, G, C/G, ...)
    axes, parameter = tuple(range(2, values.ndim)), (num_groups, -1, *[1] * (x.ndim - 2))
    centered = values - over_batch(values.mean(axes, keepdim=True))  # (N, G, C/G, ...)
    gain = (over_batch(centered.square().mean(axes, keepdim=True)) + eps).rsqrt()  # (N, G, 1, ...)
    y = centered * (gain if weight is None else gain * weight.view(parameter))  # (N, G, C/G, ...)
    return (y if bias is None else y.add_(bias.view(parameter))).flatten(1, 2).to(x.dtype)  # (N, C, ...)


def _check_batch(name: str, x: Tensor) -> None:
    """Raise ValueError for a batch with one value per channel, which has no variance."""
    if x.numel() == x.shape[1]:
        raise ValueError(
            f"{name} needs more than one value per channel in training; shape {tuple(x.shape)} has one: "
            "add samples to the batch, or use running statistics (training=False)"
        )
