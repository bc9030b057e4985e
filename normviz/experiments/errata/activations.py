"""Errata of the normalizations of activations: batch, recurrent, layer, RMS and adaptive instance norm."""

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
    title="Spatial batch norm: the deviation without its mean",
    printed=r"\sigma_c = \sqrt{\frac{1}{NHW}\sum_{n,h,w}\wrong{x_{nchw}^2} + \epsilon}",
    right=r"\sigma_c = \sqrt{\frac{1}{NHW}\sum_{n,h,w}(x_{nchw} \good{{}- \mu_c})^2 + \epsilon}",
    why="A standard deviation measures distances from the mean. Without taking the mean away the sum measures "
    "distances from 0: a channel whose values lie around 3 then seems to be spread by more than 3, is divided "
    "by too much, and leaves far too narrow. Where the mean happens to be 0 nobody notices.",
    methods=("batch_norm",),
)
def spatial_deviation() -> Outcome:
    """Spatial batch norm whose deviation forgets to take the mean away."""
    x = seeded_normal(8, 4, 16, 16, seed=124, mean=3)  # (N, C, H, W)
    over = (0, 2, 3)
    mean = x.mean(over, keepdim=True)  # (1, C, 1, 1)
    sigma = (x.square().mean(over, keepdim=True) + EPS).sqrt()  # (1, C, 1, 1)
    printed, right = (x - mean) / sigma, batch_norm(x, eps=EPS)  # (N, C, H, W)
    facts = (Comparison("standard deviation after", std(printed), std(right)),)
    return Outcome("8 maps of 4 channels, 16 × 16, mean 3 and standard deviation 1", "value after",
                   printed.flatten(), right.flatten(), facts)  # fmt: skip


@erratum(
    "recurrent-sum",
    title="Recurrent nets: what is wrapped in batch norm",
    printed=r"h_t^l = \phi\big(\wrong{\mathrm{BN}(}W h_t^{l-1} + U h_{t-1}^l\wrong{)}\big)",
    right=r"h_t^l = \phi\big(\good{\mathrm{BN}(}W h_t^{l-1}\good{)} + U h_{t-1}^l\big)",
    why="Only the part that comes from the layer below is normalized; the memory U h is added to it as it is. "
    "Wrapped together, the memory is rescaled at every step: the state can neither grow nor fade, so U's size "
    "loses its meaning, and statistics of the first steps, where there is no memory yet, differ from those of "
    "later ones.",
    methods=("batch_norm_rnn",),
)
def recurrent_sum() -> Outcome:
    """A recurrent layer that normalizes the input's and the memory's part together."""
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
    facts = (Comparison("size of the state at the last step", float(sizes[0][-1]), float(sizes[1][-1])),)
    return Outcome(f"64 sequences of {steps} steps, one recurrent layer of {width} units", "size of the state (rms)",
                   sizes[0], sizes[1], facts, at=tuple(range(1, steps + 1)), axis="step")  # fmt: skip


@erratum(
    "padding-counted",
    title="Sequences of different length: padding counted as data",
    printed=r"\mu = \frac{1}{\wrong{B\,T}}\sum_{b}\sum_{t=1}^{\wrong{T}} x_{bt}",
    right=r"\mu = \frac{1}{\good{\sum_b T_b}}\sum_{b}\sum_{t=1}^{\good{T_b}} x_{bt}",
    why="A batch of sequences is filled up with zeros to the length of the longest. These zeros are no data. "
    "Divided by all B·T places, the mean is pulled towards 0 by the share of padding, and the variance "
    "measures mostly the distance between the data and the zeros; how a sequence is normalized then depends "
    "on how long its neighbors are.",
    methods=("recurrent_batch_norm",),
)
def padding_counted() -> Outcome:
    """The statistics of a padded batch of sequences, divided by all frames."""
    mask = padding_mask(32, 24, 0.51, seed=153)  # (N, T)
    x = seeded_normal(32, 24, 4, seed=9, mean=3) * mask[..., None]  # (N, T, D)
    mean = x.mean((0, 1))  # (D,)
    variance = (x - mean).square().mean((0, 1))  # (D,)
    printed = ((x - mean) / (variance + EPS).sqrt())[mask]  # (real frames, D)
    right = recurrent_batch_norm(x, mask, eps=EPS)[mask]  # (real frames, D)
    facts = (
        Comparison("mean that is taken away", float(x.mean()), float(x[mask].mean())),
        Comparison("standard deviation of the real frames after", std(printed), std(right)),
        Comparison("share of the frames that is padding", None, 1 - float(mask.double().mean())),
    )
    return Outcome("32 sequences padded with zeros to 24 steps; the real frames have mean 3",
                   "value of a real frame after", printed.flatten(), right.flatten(), facts)  # fmt: skip


@erratum(
    "training-average",
    title="Batch norm in training: whose mean?",
    claim="During training the mean and the variance are usually running averages.",
    printed=r"\hat x = \frac{x - \wrong{m}}"
    r"{\sqrt{\wrong{v} + \epsilon}},\quad \wrong{m \leftarrow .9\,m + .1\,\mu}",
    right=r"\hat x = \frac{x - \good{\mu_{\text{batch}}}}{\sqrt{\good{\sigma^2_{\text{batch}}} + \epsilon}}",
    why="In training every batch is normalized with its own mean and variance, and the gradient flows through "
    "both. The running averages are kept beside it, for inference. They start at 0 and 1 and lag behind: "
    "after k steps a part of .9 to the power k of the start is still in them, so the first outputs would be "
    "far from 0.",
    methods=("batch_norm",),
)
def training_average() -> Outcome:
    """Running averages in the place of the batch's own statistics, in training."""
    mean, variance = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)  # (C,), (C,)
    printed, right = [], []
    for step in range(50):
        x = seeded_normal(4096, 1, seed=step, mean=10, std=3)  # (N, C)
        mean, variance = running_statistics(x, mean, variance, momentum=0.1)  # (C,), (C,)
        printed.append(batch_norm(x, mean, variance, training=False, eps=EPS).mean())
        right.append(batch_norm(x, eps=EPS).mean())
    facts = tuple(
        Comparison(f"mean after normalization, step {step}", float(printed[step - 1]), float(right[step - 1]))
        for step in (1, 5, 10, 22, 50)
    )
    return Outcome("batches of 4,096 values, mean 10 and standard deviation 3; momentum .1", "mean after normalization",
                   torch.stack(printed), torch.stack(right), facts, at=tuple(range(1, 51)), axis="training step",
                   )  # fmt: skip


@erratum(
    "weighing-square",
    title="Inference example weighing: the square of a mean",
    printed=r"\sigma^2 = \alpha\,\mathrm{E}[x^2] + (1-\alpha)\,\wrong{m_x^2} - \mu^2",
    right=r"\sigma^2 = \alpha\,\mathrm{E}[x^2] + (1-\alpha)\,\good{m_{x^2}} - \mu^2",
    why="A variance is the mean of the squares less the square of the mean, so training has to store a running "
    "mean of the squares. Put the square of the running mean in its place, and nothing is left of the "
    "training set's variance: with α = 0, which should be plain batch norm, the two terms cancel to 0 and the "
    "output is divided by √ε.",
    methods=("inference_example_weighing",),
)
def weighing_square() -> Outcome:
    """Inference example weighing with the square of the stored mean for the stored mean of squares."""
    x = seeded_normal(1, 1, 32, 32, seed=5, mean=3.5, std=1.5)  # (N, C, H, W), one example and one channel
    stored, square = torch.tensor([3.0]).double(), torch.tensor([13.0]).double()  # (C,), (C,): mean 3, variance 4
    shares = (0.0, 0.25, 0.5, 0.75, 1.0)
    own, own_square = x.mean(), x.square().mean()
    printed, right = [], []
    for alpha in shares:
        mean = alpha * own + (1 - alpha) * stored  # (C,)
        printed.append(alpha * own_square + (1 - alpha) * stored**2 - mean**2)  # (C,)
        y = inference_example_weighing(x, stored, square, alpha=alpha, eps=EPS)  # (N, C, H, W)
        right.append((x.var(correction=0) / y.var(correction=0) - EPS).reshape(1))  # (C,) what the output divides by
    facts = (
        Comparison("variance at α = 0", float(printed[0]), float(right[0])),
        Comparison("standard deviation after, at α = 0", *(std(x / (v[0] + EPS).sqrt()) for v in (printed, right))),
    )
    return Outcome("one map with mean 3.5 and variance 2.25; stored in training: mean 3 and variance 4",
                   "variance that divides", torch.cat(printed), torch.cat(right), facts, at=shares,
                   axis="weight α of the example's own statistics")  # fmt: skip


@erratum(
    "layer-norm-undivided",
    title="Layer norm without its division",
    printed=r"y_i = \gamma_i\,\wrong{(x_i - \mu)} + \beta_i",
    right=r"y_i = \gamma_i\,\good{\frac{x_i - \mu}{\sqrt{\sigma^2 + \epsilon}}} + \beta_i",
    why="Taking the mean away only moves the numbers. What layer norm is used for, that the size of what comes in "
    "does not matter, comes from the division: without it a vector ten times larger leaves ten times larger.",
    methods=("layer_norm",),
)
def layer_norm_undivided() -> Outcome:
    """Layer norm that only takes the mean away."""
    x = seeded_normal(256, 32, seed=6, mean=2, std=5)  # (N, C)
    printed, right = x - x.mean(1, keepdim=True), layer_norm(x, eps=EPS)  # (N, C)
    facts = (Comparison("standard deviation after", std(printed), std(right)),)
    return Outcome("256 vectors of 32 numbers, mean 2 and standard deviation 5", "value after",
                   printed.flatten(), right.flatten(), facts)  # fmt: skip


@erratum(
    "rms-norm-centered",
    title="RMS norm printed as layer norm",
    printed=r"y_i = \gamma_i\,\frac{x_i \wrong{{}- \mu}}{\sqrt{\wrong{\sigma^2} + \epsilon}}",
    right=r"y_i = \gamma_i\,\frac{x_i}{\sqrt{\good{\frac{1}{D}\sum_j x_j^2} + \epsilon}}",
    why="RMS norm leaves the mean where it is: that is all that sets it apart, and why it is cheaper. It divides "
    "by the root mean square, which holds the mean, too. Numbers around 3 leave close to 1, all of one sign; "
    "layer norm would spread them around 0.",
    methods=("rms_norm",),
)
def rms_norm_centered() -> Outcome:
    """RMS norm printed as a copy of layer norm."""
    x = seeded_normal(256, 32, seed=7, mean=3)  # (N, C)
    variance, mean = torch.var_mean(x, 1, correction=0, keepdim=True)  # (N, 1), (N, 1)
    printed, right = (x - mean) / (variance + EPS).sqrt(), rms_norm(x, eps=EPS)  # (N, C)
    facts = (
        Comparison("mean after", float(printed.mean()), float(right.mean())),
        Comparison("standard deviation after", std(printed), std(right)),
    )
    return Outcome("256 vectors of 32 numbers, mean 3 and standard deviation 1", "value after",
                   printed.flatten(), right.flatten(), facts)  # fmt: skip


@erratum(
    "rms-norm-is-not-l2",
    title="RMS norm is not L2 normalization",
    claim="RMS norm is also called L2 normalization.",
    printed=r"\text{RMSNorm}(x) = \wrong{\frac{x}{\lVert x \rVert_2}}",
    right=r"\text{RMSNorm}(x) = \good{\sqrt{D}}\,\frac{x}{\lVert x \rVert_2}",
    why="The direction is the same, the length is not: L2 normalization makes every vector 1 long, RMS norm makes "
    "every number about 1 in size and so the vector √D long. Exchange one for the other and all that follows "
    "sees numbers √D times too small, 64 times in a layer of 4096.",
    methods=("rms_norm", "l2_norm"),
)
def rms_norm_is_not_l2() -> Outcome:
    """Division by the length in the place of the root mean square."""
    x = seeded_normal(64, 64, seed=8, std=2)  # (N, D)
    printed, right = l2_norm(x), rms_norm(x, eps=EPS)  # (N, D)
    lengths = [float(y.norm(dim=1).mean()) for y in (printed, right)]
    facts = (
        Comparison("length of a vector after", *lengths),
        Comparison("right over printed; √D", None, lengths[1] / lengths[0]),
    )
    return Outcome("64 vectors of D = 64 numbers", "value after", printed.flatten(), right.flatten(), facts)


def _pictures() -> tuple[Tensor, Tensor]:
    """A content and a style (1, 3, 16, 16): the style's channels have means 2, 0, -2 and deviations .5, 2, 3."""
    scale, shift = (torch.tensor(v).double()[:, None, None] for v in ([0.5, 2.0, 3.0], [2.0, 0.0, -2.0]))  # (3, 1, 1)
    return seeded_normal(1, 3, 16, 16, seed=9, mean=1), seeded_normal(1, 3, 16, 16, seed=10) * scale + shift


def _statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """The mean and the standard deviation of each channel of each example: (N, C, 1, 1) each."""
    variance, mean = torch.var_mean(x, (2, 3), correction=0, keepdim=True)  # (N, C, 1, 1)
    return mean, (variance + EPS).sqrt()


CHANNELS = ("channel 1", "channel 2", "channel 3")


@erratum(
    "adain-square",
    title="Adaptive instance norm: variance for deviation",
    printed=r"y = \wrong{\sigma^2(s)}\,\frac{x - \mu(x)}{\sigma(x)} + \mu(s)",
    right=r"y = \good{\sigma(s)}\,\frac{x - \mu(x)}{\sigma(x)} + \mu(s)",
    why="The content is brought to deviation 1 and then multiplied by the deviation that the style has. "
    "Multiplied by the variance instead, channels in which the style varies little nearly vanish and the "
    "others are overdriven: only where the deviation is 1 are both the same.",
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
        Comparison("standard deviation of channel 3 after", float(after[0][2]), float(after[1][2])),
        Comparison("standard deviation of channel 3 in the style", None, float(new_deviation[0, 2, 0, 0])),
    )
    return Outcome("a content and a style of 3 channels, 16 × 16", "standard deviation after",
                   after[0], after[1], facts, labels=CHANNELS)  # fmt: skip


@erratum(
    "adain-exchanged",
    title="Adaptive instance norm: content and style exchanged",
    printed=r"y = \wrong{\sigma(x)}\,\frac{\wrong{s} - \mu(\wrong{s})}{\sigma(\wrong{s})} + \wrong{\mu(x)}",
    right=r"y = \good{\sigma(s)}\,\frac{\good{x} - \mu(\good{x})}{\sigma(\good{x})} + \good{\mu(s)}",
    why="The picture that should keep its shapes is the content x; it receives the mean and the deviation of the "
    "style s, which stays as it is. The other way round the result shows the style's shapes in the content's "
    "colors, and nothing of the content can be recognized.",
    methods=("adaptive_instance_norm",),
)
def adain_exchanged() -> Outcome:
    """Adaptive instance norm with content and style in each other's place."""
    content, style = _pictures()
    (new_mean, new_deviation), (mean, deviation) = _statistics(content), _statistics(style)
    printed = new_deviation * (style - mean) / deviation + new_mean  # (N, C, H, W)
    right = adaptive_instance_norm(content, style, eps=EPS)  # (N, C, H, W)
    alike = [_correlation(y, content) for y in (printed, right)]
    facts = (
        Comparison("how alike the result and the content are (correlation)", *alike),
        Comparison("mean of channel 1 after", float(printed[:, 0].mean()), float(right[:, 0].mean())),
    )
    means = [y[0].mean((1, 2)) for y in (printed, right)]  # (C,), (C,)
    return Outcome(
        "a content and a style of 3 channels, 16 × 16", "mean after", means[0], means[1], facts, labels=CHANNELS
    )


def _correlation(y: Tensor, x: Tensor) -> float:
    """How alike two pictures are once every channel's mean and deviation are taken away: -1 to 1."""
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
    why="GPT uses layer norm, which looks at one token at a time. Batch norm mixes the statistics of all tokens "
    "of all sentences: change the last word, and the first one changes as well. A model that writes one word "
    "after the other would have seen, in training, the words that it is to guess.",
    methods=("layer_norm", "batch_norm"),
)
def gpt_batch_norm() -> Outcome:
    """A language model's tokens under batch norm: each of them sees the others, those to come, too."""
    x = seeded_normal(4, 8, 16, seed=11)  # (N, T, D)
    changed = torch.cat([x[:, :-1], seeded_normal(4, 1, 16, seed=12, std=3)], dim=1)  # (N, T, D), another last token

    def batched(tokens: Tensor) -> Tensor:
        return batch_norm(tokens.transpose(1, 2), eps=EPS).transpose(1, 2)  # (N, T, D)

    moved = [
        (norm(changed) - norm(x)).square().mean((0, 2)).sqrt()  # (T,)
        for norm in (batched, lambda tokens: layer_norm(tokens, eps=EPS))
    ]
    facts = (Comparison("change of the first token when the last one changes", float(moved[0][0]), float(moved[1][0])),)
    return Outcome("4 sentences of 8 tokens; then the last token of each is another one",
                   "change of a token (rms)", moved[0], moved[1], facts,
                   labels=tuple(map(str, range(1, 9))), axis="token", names=("batch norm", "layer norm"))  # fmt: skip
