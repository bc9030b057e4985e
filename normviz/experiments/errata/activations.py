"""Errata of activation normalization: batch, recurrent, layer, RMS and adaptive instance norm."""

from __future__ import annotations

import torch
from torch import Tensor

from normviz.activations import padding_mask
from normviz.experiments.errata.erratum import EPS, Comparison, Outcome, erratum, seeded_normal, std
from normviz.normalization import (
    adaptive_instance_norm,
    batch_norm,
    batch_norm_rnn,
    inference_example_weighing,
    l2_norm,
    layer_norm,
    recurrent_batch_norm,
    rms_norm,
    running_statistics,
)


@erratum(
    "spatial-deviation",
    title="Spatial batch norm: a standard deviation without its mean",
    printed=r"\sigma_c = \sqrt{\frac{1}{NHW}\sum_{n,h,w}\wrong{x_{nchw}^2} + \epsilon}",
    right=r"\sigma_c = \sqrt{\frac{1}{NHW}\sum_{n,h,w}(x_{nchw} \good{{}- \mu_c})^2 + \epsilon}",
    why="A standard deviation measures distances from the mean. If the mean is not subtracted, the sum measures "
    "distances from 0. For a channel with values around 3, the result is above 3, so the channel is divided by "
    "too much and its output has far too small a standard deviation. The mistake has no effect where the mean "
    "happens to be 0.",
    methods=("batch_norm",),
)
def spatial_deviation() -> Outcome:
    """Spatial batch norm with a standard deviation that does not subtract the mean."""
    x = seeded_normal(8, 4, 16, 16, seed=124, mean=3)  # (N, C, H, W)
    over = (0, 2, 3)
    mean = x.mean(over, keepdim=True)  # (1, C, 1, 1)
    sigma = (x.square().mean(over, keepdim=True) + EPS).sqrt()  # (1, C, 1, 1)
    printed, right = (x - mean) / sigma, batch_norm(x, eps=EPS)  # (N, C, H, W)
    facts = (Comparison("standard deviation of the output", std(printed), std(right)),)
    return Outcome("8 samples of 4 channels, 16 × 16, mean 3 and standard deviation 1", "output value",
                   printed.flatten(), right.flatten(), facts)  # fmt: skip


@erratum(
    "recurrent-sum",
    title="Recurrent networks: what batch norm is applied to",
    printed=r"h_t^l = \phi\big(\wrong{\mathrm{BN}(}W h_t^{l-1} + U h_{t-1}^l\wrong{)}\big)",
    right=r"h_t^l = \phi\big(\good{\mathrm{BN}(}W h_t^{l-1}\good{)} + U h_{t-1}^l\big)",
    why="Only the part that comes from the layer below, W h, is normalized. The recurrent part U h is added without "
    "normalization. If batch norm is applied to the sum, the state is rescaled at every step: it can neither "
    "grow nor decay, so the scale of U no longer matters. The statistics of the first steps, which have no "
    "previous state yet, also differ from those of later steps.",
    methods=("batch_norm_rnn",),
)
def recurrent_sum() -> Outcome:
    """A recurrent layer that normalizes the sum of the input part and the recurrent part."""
    steps, width = 12, 16
    x = seeded_normal(64, steps, width, seed=1)  # (N, T, D)
    weight = seeded_normal(width, width, seed=2, std=width**-0.5)  # (H, D)
    memory = seeded_normal(width, width, seed=3, std=2 * width**-0.5)  # (H, H)
    state, states = torch.zeros(64, width, dtype=x.dtype), []  # (N, H)
    for step in range(steps):
        state = batch_norm(x[:, step] @ weight.T + state @ memory.T, eps=EPS).tanh()  # (N, H)
        states.append(state)
    printed = torch.stack(states, dim=1)  # (N, T, H)
    right = batch_norm_rnn(x, weight, memory, per_step=True, eps=EPS)  # (N, T, H)
    sizes = [y.square().mean((0, 2)).sqrt() for y in (printed, right)]  # (T,), (T,)
    facts = (Comparison("root mean square of the state at the last step", float(sizes[0][-1]), float(sizes[1][-1])),)
    return Outcome(f"64 sequences of {steps} steps, one recurrent layer of {width} units",
                   "root mean square of the state",
                   sizes[0], sizes[1], facts, at=tuple(range(1, steps + 1)), axis="step")  # fmt: skip


@erratum(
    "padding-counted",
    title="Sequences of different lengths: padding counted as data",
    printed=r"\mu = \frac{1}{\wrong{B\,T}}\sum_{b}\sum_{t=1}^{\wrong{T}} x_{bt}",
    right=r"\mu = \frac{1}{\good{\sum_b T_b}}\sum_{b}\sum_{t=1}^{\good{T_b}} x_{bt}",
    why="A batch of sequences is padded with zeros to the length of the longest sequence. These zeros are not data. "
    "If the sum is divided by all B·T positions, the mean moves toward 0 by the share of padding, and the "
    "variance mostly measures the distance between the data and the zeros. How one sequence is normalized then "
    "depends on the lengths of the other sequences in the batch.",
    methods=("recurrent_batch_norm",),
)
def padding_counted() -> Outcome:
    """Statistics of a padded batch of sequences, divided by the number of all frames."""
    mask = padding_mask(32, 24, 0.51, seed=153)  # (N, T)
    x = seeded_normal(32, 24, 4, seed=9, mean=3) * mask[..., None]  # (N, T, D)
    mean = x.mean((0, 1))  # (D,)
    variance = (x - mean).square().mean((0, 1))  # (D,)
    printed = ((x - mean) / (variance + EPS).sqrt())[mask]  # (real frames, D)
    right = recurrent_batch_norm(x, mask, eps=EPS)[mask]  # (real frames, D)
    facts = (
        Comparison("mean that is subtracted", float(x.mean()), float(x[mask].mean())),
        Comparison("standard deviation of the real frames in the output", std(printed), std(right)),
        Comparison("share of frames that are padding", None, 1 - float(mask.double().mean())),
    )
    return Outcome("32 sequences padded with zeros to 24 steps; the real frames have mean 3",
                   "output value of a real frame", printed.flatten(), right.flatten(), facts)  # fmt: skip


@erratum(
    "training-average",
    title="Batch norm in training: which mean?",
    claim="During training the mean and the variance are usually running averages.",
    printed=r"\hat x = \frac{x - \wrong{m}}"
    r"{\sqrt{\wrong{v} + \epsilon}},\quad \wrong{m \leftarrow .9\,m + .1\,\mu}",
    right=r"\hat x = \frac{x - \good{\mu_{\text{batch}}}}{\sqrt{\good{\sigma^2_{\text{batch}}} + \epsilon}}",
    why="During training, every batch is normalized with its own mean and variance, and the gradient flows through "
    "both. The running averages are updated at the same time, but they are used only for inference. They start "
    "at 0 and 1 and change slowly: after k steps, a share of 0.9 to the power of k of the start value remains, "
    "so normalizing with them would give first outputs with a mean far from 0.",
    methods=("batch_norm",),
)
def training_average() -> Outcome:
    """Training with running averages instead of the statistics of each batch."""
    mean, variance = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)  # (C,), (C,)
    printed, right = [], []
    for step in range(50):
        x = seeded_normal(4096, 1, seed=step, mean=10, std=3)  # (N, C)
        mean, variance = running_statistics(x, mean, variance, momentum=0.1)  # (C,), (C,)
        printed.append(batch_norm(x, mean, variance, training=False, eps=EPS).mean())
        right.append(batch_norm(x, eps=EPS).mean())
    facts = tuple(
        Comparison(f"mean of the output, step {step}", float(printed[step - 1]), float(right[step - 1]))
        for step in (1, 5, 10, 22, 50)
    )
    return Outcome("batches of 4,096 values, mean 10 and standard deviation 3; momentum 0.1", "mean of the output",
                   torch.stack(printed), torch.stack(right), facts, at=tuple(range(1, 51)), axis="training step",
                   )  # fmt: skip


@erratum(
    "weighing-square",
    title="Inference example weighing: the square of a mean",
    printed=r"\sigma^2 = \alpha\,\mathrm{E}[x^2] + (1-\alpha)\,\wrong{m_x^2} - \mu^2",
    right=r"\sigma^2 = \alpha\,\mathrm{E}[x^2] + (1-\alpha)\,\good{m_{x^2}} - \mu^2",
    why="A variance is the mean of the squares minus the square of the mean, so training has to store a running "
    "mean of the squares. If the square of the running mean is used instead, nothing of the training set's "
    "variance remains. With α = 0, which should give ordinary batch norm, the two terms cancel to 0 and the "
    "output is divided by √ε.",
    methods=("inference_example_weighing",),
)
def weighing_square() -> Outcome:
    """Inference example weighing with the squared stored mean instead of the stored mean of squares."""
    x = seeded_normal(1, 1, 32, 32, seed=5, mean=3.5, std=1.5)  # (N, C, H, W), one sample and one channel
    stored, square = torch.tensor([3.0]).double(), torch.tensor([13.0]).double()  # (C,), (C,): mean 3, variance 4
    shares = (0.0, 0.25, 0.5, 0.75, 1.0)
    own, own_square = x.mean(), x.square().mean()
    printed, right = [], []
    for alpha in shares:
        mean = alpha * own + (1 - alpha) * stored  # (C,)
        printed.append(alpha * own_square + (1 - alpha) * stored**2 - mean**2)  # (C,)
        y = inference_example_weighing(x, stored, square, alpha=alpha, eps=EPS)  # (N, C, H, W)
        right.append((x.var(correction=0) / y.var(correction=0) - EPS).reshape(1))  # (C,) the divisor
    facts = (
        Comparison("variance at α = 0", float(printed[0]), float(right[0])),
        Comparison("standard deviation after, at α = 0", *(std(x / (v[0] + EPS).sqrt()) for v in (printed, right))),
    )
    return Outcome("one feature map with mean 3.5 and variance 2.25; stored in training: mean 3 and variance 4",
                   "variance used by the division", torch.cat(printed), torch.cat(right), facts, at=shares,
                   axis="weight α of the sample's own statistics")  # fmt: skip


@erratum(
    "layer-norm-undivided",
    title="Layer norm without the division",
    printed=r"y_i = \gamma_i\,\wrong{(x_i - \mu)} + \beta_i",
    right=r"y_i = \gamma_i\,\good{\frac{x_i - \mu}{\sqrt{\sigma^2 + \epsilon}}} + \beta_i",
    why="Subtracting the mean only shifts the values. Layer norm also makes the output independent of the scale of "
    "the input, and this comes from the division: without it, an input that is ten times larger gives an output "
    "that is ten times larger.",
    methods=("layer_norm",),
)
def layer_norm_undivided() -> Outcome:
    """Layer norm that only subtracts the mean."""
    x = seeded_normal(256, 32, seed=6, mean=2, std=5)  # (N, C)
    printed, right = x - x.mean(1, keepdim=True), layer_norm(x, eps=EPS)  # (N, C)
    facts = (Comparison("standard deviation of the output", std(printed), std(right)),)
    return Outcome("256 vectors of 32 numbers, mean 2 and standard deviation 5", "output value",
                   printed.flatten(), right.flatten(), facts)  # fmt: skip


@erratum(
    "rms-norm-centered",
    title="RMS norm printed as layer norm",
    printed=r"y_i = \gamma_i\,\frac{x_i \wrong{{}- \mu}}{\sqrt{\wrong{\sigma^2} + \epsilon}}",
    right=r"y_i = \gamma_i\,\frac{x_i}{\sqrt{\good{\frac{1}{D}\sum_j x_j^2} + \epsilon}}",
    why="RMS norm does not subtract the mean. This is the only difference from layer norm, and it is why RMS norm "
    "is cheaper. It divides by the root mean square, which includes the mean. Values around 3 are mapped to "
    "values close to 1, all with the same sign; layer norm would center them at 0.",
    methods=("rms_norm",),
)
def rms_norm_centered() -> Outcome:
    """RMS norm printed with the formula of layer norm."""
    x = seeded_normal(256, 32, seed=7, mean=3)  # (N, C)
    variance, mean = torch.var_mean(x, 1, correction=0, keepdim=True)  # (N, 1), (N, 1)
    printed, right = (x - mean) / (variance + EPS).sqrt(), rms_norm(x, eps=EPS)  # (N, C)
    facts = (
        Comparison("mean of the output", float(printed.mean()), float(right.mean())),
        Comparison("standard deviation of the output", std(printed), std(right)),
    )
    return Outcome("256 vectors of 32 numbers, mean 3 and standard deviation 1", "output value",
                   printed.flatten(), right.flatten(), facts)  # fmt: skip


@erratum(
    "rms-norm-is-not-l2",
    title="RMS norm is not L2 normalization",
    claim="RMS norm is also called L2 normalization.",
    printed=r"\text{RMSNorm}(x) = \wrong{\frac{x}{\lVert x \rVert_2}}",
    right=r"\text{RMSNorm}(x) = \good{\sqrt{D}}\,\frac{x}{\lVert x \rVert_2}",
    why="The direction is the same, but the length is not. L2 normalization gives every vector the length 1. RMS "
    "norm gives every vector a root mean square of 1, and therefore the length √D. If one replaces the other, "
    "the next layer receives values that are too small by a factor of √D, which is 64 in a layer of width 4096.",
    methods=("rms_norm", "l2_norm"),
)
def rms_norm_is_not_l2() -> Outcome:
    """Division by the length instead of the root mean square."""
    x = seeded_normal(64, 64, seed=8, std=2)  # (N, D)
    printed, right = l2_norm(x), rms_norm(x, eps=EPS)  # (N, D)
    lengths = [float(y.norm(dim=1).mean()) for y in (printed, right)]
    facts = (
        Comparison("length of an output vector", *lengths),
        Comparison("right divided by printed; √D", None, lengths[1] / lengths[0]),
    )
    return Outcome("64 vectors of D = 64 numbers", "output value", printed.flatten(), right.flatten(), facts)


def _pictures() -> tuple[Tensor, Tensor]:
    """A content and a style (1, 3, 16, 16): the style has means 2, 0, -2 and standard deviations 0.5, 2, 3."""
    scale, shift = (torch.tensor(v).double()[:, None, None] for v in ([0.5, 2.0, 3.0], [2.0, 0.0, -2.0]))  # (3, 1, 1)
    return seeded_normal(1, 3, 16, 16, seed=9, mean=1), seeded_normal(1, 3, 16, 16, seed=10) * scale + shift


def _statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the mean and the standard deviation of each channel of each sample: (N, C, 1, 1) each."""
    variance, mean = torch.var_mean(x, (2, 3), correction=0, keepdim=True)  # (N, C, 1, 1)
    return mean, (variance + EPS).sqrt()


CHANNELS = ("channel 1", "channel 2", "channel 3")


@erratum(
    "adain-square",
    title="Adaptive instance norm: variance instead of standard deviation",
    printed=r"y = \wrong{\sigma^2(s)}\,\frac{x - \mu(x)}{\sigma(x)} + \mu(s)",
    right=r"y = \good{\sigma(s)}\,\frac{x - \mu(x)}{\sigma(x)} + \mu(s)",
    why="The content is scaled to a standard deviation of 1 and then multiplied by the standard deviation of the "
    "style. If it is multiplied by the variance instead, channels in which the style varies little nearly "
    "vanish and the others are amplified too much. Both formulas agree only where the standard deviation is 0 "
    "or 1.",
    methods=("adaptive_instance_norm",),
)
def adain_square() -> Outcome:
    """Adaptive instance norm that multiplies by the style's variance."""
    content, style = _pictures()
    (mean, deviation), (new_mean, new_deviation) = _statistics(content), _statistics(style)
    printed = new_deviation**2 * (content - mean) / deviation + new_mean  # (N, C, H, W)
    right = adaptive_instance_norm(content, style, eps=EPS)  # (N, C, H, W)
    after = [y[0].std((1, 2), correction=0) for y in (printed, right)]  # (C,), (C,)
    facts = (
        Comparison("standard deviation of channel 3 in the output", float(after[0][2]), float(after[1][2])),
        Comparison("standard deviation of channel 3 in the style", None, float(new_deviation[0, 2, 0, 0])),
    )
    return Outcome("a content and a style of 3 channels, 16 × 16", "standard deviation of the output",
                   after[0], after[1], facts, labels=CHANNELS)  # fmt: skip


@erratum(
    "adain-exchanged",
    title="Adaptive instance norm: content and style exchanged",
    printed=r"y = \wrong{\sigma(x)}\,\frac{\wrong{s} - \mu(\wrong{s})}{\sigma(\wrong{s})} + \wrong{\mu(x)}",
    right=r"y = \good{\sigma(s)}\,\frac{\good{x} - \mu(\good{x})}{\sigma(\good{x})} + \good{\mu(s)}",
    why="The image that keeps its shapes is the content x. It receives the mean and the standard deviation of the "
    "style s, which is not changed. If the two are exchanged, the result shows the shapes of the style in the "
    "colors of the content, and the content can no longer be recognized.",
    methods=("adaptive_instance_norm",),
)
def adain_exchanged() -> Outcome:
    """Adaptive instance norm with content and style exchanged."""
    content, style = _pictures()
    (new_mean, new_deviation), (mean, deviation) = _statistics(content), _statistics(style)
    printed = new_deviation * (style - mean) / deviation + new_mean  # (N, C, H, W)
    right = adaptive_instance_norm(content, style, eps=EPS)  # (N, C, H, W)
    correlations = [_correlation(y, content) for y in (printed, right)]
    facts = (
        Comparison("correlation of the output with the content", *correlations),
        Comparison("mean of channel 1 in the output", float(printed[:, 0].mean()), float(right[:, 0].mean())),
    )
    means = [y[0].mean((1, 2)) for y in (printed, right)]  # (C,), (C,)
    return Outcome(
        "a content and a style of 3 channels, 16 × 16", "mean of the output", means[0], means[1], facts, labels=CHANNELS
    )


def _correlation(y: Tensor, x: Tensor) -> float:
    """Compute the correlation of two images after each channel is standardized: -1 to 1."""
    (a, b), (c, d) = _statistics(y), _statistics(x)
    return float(((y - a) / b * (x - c) / d).mean())


@erratum(
    "gpt-batch-norm",
    title="Language models and batch norm",
    claim="GPT relies on batch normalization.",
    printed=r"\text{GPT: } \wrong{\mathrm{BN}}(x) = \frac{x - \wrong{\mu_{\text{all tokens}}}}"
    r"{\wrong{\sigma_{\text{all tokens}}}}",
    right=r"\text{GPT: } \good{\mathrm{LN}}(x) = \frac{x - \good{\mu_{\text{this token}}}}"
    r"{\good{\sigma_{\text{this token}}}}",
    why="GPT uses layer norm, which normalizes each token on its own. Batch norm mixes the statistics of all tokens "
    "of all sentences: if the last word changes, the output for the first word changes too. During training, a "
    "model that predicts one word after another would then receive information about the words it has to "
    "predict.",
    methods=("layer_norm", "batch_norm"),
)
def gpt_batch_norm() -> Outcome:
    """Tokens of a language model with batch norm: each depends on the others, including later ones."""
    x = seeded_normal(4, 8, 16, seed=11)  # (N, T, D)
    changed = torch.cat([x[:, :-1], seeded_normal(4, 1, 16, seed=12, std=3)], dim=1)  # (N, T, D), with a new last token

    def batched(tokens: Tensor) -> Tensor:
        return batch_norm(tokens.transpose(1, 2), eps=EPS).transpose(1, 2)  # (N, T, D)

    moved = [
        (norm(changed) - norm(x)).square().mean((0, 2)).sqrt()  # (T,)
        for norm in (batched, lambda tokens: layer_norm(tokens, eps=EPS))
    ]
    facts = (Comparison("change of the first token when the last one changes", float(moved[0][0]), float(moved[1][0])),)
    return Outcome("4 sentences of 8 tokens, before and after the last token of each is replaced",
                   "root mean square change of a token", moved[0], moved[1], facts,
                   labels=tuple(map(str, range(1, 9))), axis="token", names=("batch norm", "layer norm"))  # fmt: skip
