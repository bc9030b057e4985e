"""Attribution by the scores of images that are masked with the channels of a layer: Score-CAM and variants."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from normviz.attribution.engine.probe import Probe
from normviz.attribution.engine.scorer import TRIAL, Precision, Scorer, Steps, check_choice
from normviz.registry import Range, attribution

__all__ = ["is_cam", "score_cam", "ss_cam"]

Convention = Literal["logit", "paper", "official"]
Where = Literal["mask", "image"]
Path = Literal["cumulative", "straight"]
Report = Callable[[Tensor], None]
_CONVENTIONS: dict[Convention, str] = {
    "logit": "the score is {score}, the weights are its softmax over the channels",
    "paper": "the score is the class's probability, the weights are its softmax over the channels",
    "official": "the score is the class's probability, and is the weight",
}
Mask = Callable[[Tensor, Tensor], Tensor]  # image (1, C, H, W) and channels (b, h, w) -> masked images (b, C, H, W)


@attribution(
    title="Score-CAM", cite="wang2020score", level="layer", unit="activation",
    formula=r"M_{ij} = \mathrm{ReLU}\Big(\sum_k w_k A_{kij}\Big), \quad "
    r"w = \mathrm{softmax}_k\, f_c(x \odot H_k), \quad H_k = \frac{A_k - \min A_k}{\max A_k - \min A_k}",
)  # fmt: skip
def score_cam(
    probe: Probe,
    convention: Convention = "logit",
    precision: Precision = "full",
    *,
    chunk: int = 32,
    progress: Callable[[float], None] | None = None,
    preview: Report | None = None,
    note: Callable[[str], None] | None = None,
) -> Tensor:
    """Activations weighted by the score of the class for the image masked with their channel.

    Needs no gradient, but one forward pass per channel; constant channels share one. Memory grows with `chunk`, not
    with the number of channels.

    Args:
        probe: network, images, class and layer.
        convention: "logit": softmax over the channels of the logits, with masks scaled to [0, 1] before they are
            enlarged (as torch-cam). "paper": softmax over the channels of the probabilities, with masks scaled after
            they are enlarged; the baseline of the paper cancels. "official" (the authors' code): the probabilities
            themselves, without constant channels.
        precision: "full": the network's own. "auto": bfloat16 if a trial on a few channels is faster and accurate.
            "bfloat16": always; the map of a trained network then differs by a few tenths of a percent.
        chunk: masked images per forward pass; changes speed and memory, not the map.
        progress: called after each chunk with the finished fraction, 0 to 1; may raise to cancel.
        preview: called after each chunk with the map of the channels so far, in decreasing order of their range.
        note: called with a sentence on how the map was computed.

    Returns:
        (N, h, w), at least 0, in units of the activations ("official": times probability).

    Raises:
        ValueError: chunk below 1, an unknown convention or precision, a probability of a target that is not a class, or
            bfloat16 for a network that does not support it.

    Source:
        Wang et al. 2020, Eq. 4 to 6 and algorithm 1.
    """
    check_choice("score_cam", convention, Convention)
    check_choice("score_cam", precision, Precision)
    if convention != "logit":
        _ = probe.target  # raises if the target is not a class, which has no probability
    activations = probe.activations  # (N, K, h, w)
    varies = _varies(activations)  # (N, K)
    rest = convention != "official"  # constant channels get the score of a black image
    steps = Steps(chunk, [n for row in varies for n in _parts(row, rest)], progress)
    scorer = Scorer(probe, "logit" if convention == "logit" else "probability", precision)

    def masked(image: Tensor, maps: Tensor) -> Tensor:
        return image * _enlarged(maps, image, convention)  # (b, C, H, W)

    if precision == "auto":
        trial = activations[0, : min(chunk, TRIAL)]  # (b, h, w)
        scorer.choose(masked(probe.images[:1], trial), int(varies.sum()))
    weights = _Weights(activations, softmax=rest, preview=preview)
    for index, active in enumerate(varies):
        _score_channels(probe, scorer, weights, index, active, rest, masked, chunk, steps)
    if note:
        score = "the logit" if isinstance(probe.objective, Tensor) else "the value of the target"
        note(f"Convention “{convention}”: {_CONVENTIONS[convention].format(score=score)}. {scorer.sentence()}")
    return weights.heatmap()


@attribution(
    title="SS-CAM", cite="wang2020smoothed", level="layer", unit="activation",
    aliases=("Smoothed Score-CAM", "SSCAM"),
    formula=r"M_{ij} = \mathrm{ReLU}\Big(\sum_k w_k A_{kij}\Big), \quad w = \mathrm{softmax}_k \frac{1}{n} "
    r"\sum_{r=1}^{n} S_c\big(x \odot (H_k + \delta_{kr})\big), \quad \delta_{kr} \sim \mathcal{N}(0, \sigma^2) "
    r"\text{ of seed } s",
)  # fmt: skip
def ss_cam(
    probe: Probe,
    samples: Annotated[int, Range(1, 100, "n")] = 10,
    sigma: Annotated[float, Range(0.0, 2.0, r"\sigma")] = 0.2,
    where: Where = "mask",
    seed: Annotated[int, Range(0, 999, "s")] = 0,
    *,
    chunk: int = 32,
    progress: Callable[[float], None] | None = None,
    preview: Report | None = None,
    note: Callable[[str], None] | None = None,
) -> Tensor:
    """Score-CAM with scores averaged over noisy copies of each masked image.

    Here sigma is a fraction of the range of the tensor that the noise is added to; implementations differ. torch-cam
    also adds it to the mask scaled to [0, 1], with sigma 2 and 35 samples; the authors' code adds it to the channel
    before scaling, with a standard deviation of (2 / range) squared, and weights by probabilities without softmax.

    Args:
        probe: network, images, class and layer.
        samples: noisy copies per channel, with one forward pass each.
        sigma: standard deviation of the noise, as a fraction of the range of the tensor it is added to; 0 is Score-CAM.
        where: the tensor that the noise is added to: the "mask" or the masked "image".
        seed: random seed of the noise, which is the same for each image.
        chunk: images per forward pass; changes speed and memory, not the map.
        progress: called after each chunk with the finished fraction, 0 to 1; may raise to cancel.
        preview: called after each chunk with the map of the scores so far.
        note: called with a sentence on how the map was computed.

    Returns:
        (N, h, w), at least 0, in units of the activations.

    Raises:
        ValueError: chunk or samples below 1, or an unknown `where`.

    Source:
        Wang et al. 2020 (SS-CAM), its two kinds of smoothing: of the activation map and of the input.
    """
    check_choice("ss_cam", where, Where)
    if samples < 1:
        raise ValueError(f"samples must be at least 1; received {samples}")
    activations = probe.activations  # (N, K, h, w)
    channels = activations.shape[1]
    steps = Steps(chunk, [channels] * samples * len(activations), progress)
    scorer = Scorer(probe)
    weights = _Weights(activations, softmax=True, preview=preview)
    all_channels = activations.new_ones(channels, dtype=torch.bool)  # (K,); noise makes constant channels differ
    for index in range(len(activations)):
        generator = torch.Generator().manual_seed(seed)

        def masked(image: Tensor, maps: Tensor, generator: torch.Generator = generator) -> Tensor:
            masks = _enlarged(maps, image, "logit")  # (b, 1, H, W)
            if where == "mask":
                return image * (masks + sigma * _noise(masks, generator))  # (b, C, H, W)
            visible = image * masks  # (b, C, H, W)
            spread = visible.amax(dim=(1, 2, 3), keepdim=True) - visible.amin(
                dim=(1, 2, 3), keepdim=True
            )  # (b, 1, 1, 1)
            return visible + sigma * spread * _noise(visible, generator)

        for _ in range(samples):
            _score_channels(probe, scorer, weights, index, all_channels, False, masked, chunk, steps, ranked=False)
    if note:
        note(f"{samples} noisy copies of each masked image, seed {seed}. {scorer.sentence()}")
    return weights.heatmap()


@attribution(
    title="IS-CAM", cite="naidu2020integrated", level="layer", unit="activation",
    aliases=("Integrated Score-CAM", "ISCAM"),
    formula=r"M_{ij} = \mathrm{ReLU}\Big(\sum_k w_k A_{kij}\Big), \quad w = \mathrm{softmax}_k \frac{1}{n} "
    r"\sum_{r=1}^{n} S_c(t_r\, x \odot H_k), \quad t_r = \sum_{q=1}^{r} \frac{q}{n} \text{ or } \frac{r}{n}",
)  # fmt: skip
def is_cam(
    probe: Probe,
    steps: Annotated[int, Range(1, 50, "n")] = 10,
    path: Path = "cumulative",
    *,
    chunk: int = 32,
    progress: Callable[[float], None] | None = None,
    preview: Report | None = None,
    note: Callable[[str], None] | None = None,
) -> Tensor:
    """Score-CAM with scores averaged over increasingly bright copies of each masked image.

    Public implementations add q / n of the masked image in step q, so the last copy is (n + 1) / 2 times as bright as
    the masked image. "straight" ends at the masked image, as an integral from black to it would. With one step both
    equal Score-CAM.

    Args:
        probe: network, images, class and layer.
        steps: images per channel, with one forward pass each.
        path: brightness in step r: "cumulative" r (r + 1) / 2n times the masked image (torch-cam), or "straight" r / n
            times.
        chunk: images per forward pass; changes speed and memory, not the map.
        progress: called after each chunk with the finished fraction, 0 to 1; may raise to cancel.
        preview: called after each chunk with the map of the scores so far.
        note: called with a sentence on how the map was computed.

    Returns:
        (N, h, w), at least 0, in units of the activations.

    Raises:
        ValueError: chunk or steps below 1, or an unknown path.

    Source:
        Naidu et al. 2020, the integration in the pipeline of Score-CAM.
    """
    check_choice("is_cam", path, Path)
    if steps < 1:
        raise ValueError(f"steps must be at least 1; received {steps}")
    activations = probe.activations  # (N, K, h, w)
    varies = _varies(activations)  # (N, K)
    count = Steps(chunk, [n for row in varies for _ in range(steps) for n in _parts(row, True)], progress)
    scorer = Scorer(probe)
    weights = _Weights(activations, softmax=True, preview=preview)
    for index, active in enumerate(varies):
        for step in range(1, steps + 1):
            brightness = step * (step + 1) / (2 * steps) if path == "cumulative" else step / steps

            def masked(image: Tensor, maps: Tensor, brightness: float = brightness) -> Tensor:
                return brightness * image * _enlarged(maps, image, "logit")  # (b, C, H, W)

            _score_channels(probe, scorer, weights, index, active, True, masked, chunk, count)
    if note:
        note(f"{steps} steps per channel, {path}. {scorer.sentence()}")
    return weights.heatmap()


class _Weights:
    """Accumulated scores of the channels, and the resulting map."""

    def __init__(self, activations: Tensor, softmax: bool, preview: Report | None) -> None:
        self._activations, self._softmax, self._preview = activations, softmax, preview
        self._total = activations.new_zeros(activations.shape[:2])  # (N, K)
        self._count = torch.zeros_like(self._total)  # (N, K), scores per channel

    def add(self, index: int, channels: Tensor, scores: Tensor) -> None:
        """Add one score for these channels (b,) of image `index`: (b,), or () if they share it."""
        self._total[index, channels] += scores
        self._count[index, channels] += 1

    def report(self) -> None:
        """Call `preview` with the map so far."""
        if self._preview:
            self._preview(self.heatmap())

    def heatmap(self) -> Tensor:
        """The map (N, h, w) of the channels that have a score, with their mean scores."""
        scored = self._count > 0  # (N, K)
        weight = self._total / self._count.clamp(min=1)  # (N, K)
        if self._softmax:
            some = scored.any(dim=1, keepdim=True)  # (N, 1)
            weight = torch.where(scored | ~some, weight, -torch.inf).softmax(dim=1) * some  # (N, K)
        return (weight[:, :, None, None] * self._activations).sum(dim=1).relu()  # (N, h, w)


def _score_channels(
    probe: Probe,
    scorer: Scorer,
    weights: _Weights,
    index: int,
    active: Tensor,
    rest: bool,
    masked: Mask,
    chunk: int,
    steps: Steps,
    ranked: bool = True,
) -> None:
    """Score image `index`, masked with each active channel (K,); if `rest`, score the others as one black image."""
    image, maps = probe.images[index : index + 1], probe.activations[index]  # (1, C, H, W), (K, h, w)
    order = active.nonzero()[:, 0]  # (K',)
    if ranked:  # channels with the widest range first, for the preview
        spread = maps[order].amax(dim=(1, 2)) - maps[order].amin(dim=(1, 2))  # (K',)
        order = order[spread.argsort(descending=True, stable=True)]
    for part in _chunks(order, chunk):
        weights.add(index, part, scorer.scores(masked(image, maps[part]), index))
        steps.advance()
        weights.report()
    if rest and not active.all():
        others = (~active).nonzero()[:, 0]  # (K - K',)
        weights.add(index, others, scorer.scores(torch.zeros_like(image), index)[0])
        steps.advance()
        weights.report()


def _parts(active: Tensor, rest: bool) -> tuple[int, int]:
    """The number of images for the channels (K,): one per active channel, and one for all constant channels."""
    return int(active.sum()), int(rest and not active.all())


def _chunks(order: Tensor, chunk: int) -> Iterator[Tensor]:
    """Channel indices (K',) in chunks of at most `chunk`."""
    return iter(torch.split(order, chunk)) if len(order) else iter(())


def _varies(activations: Tensor) -> Tensor:
    """Whether each channel varies over its cells: (N, K), bool."""
    return activations.amax(dim=(2, 3)) > activations.amin(dim=(2, 3))


def _enlarged(maps: Tensor, image: Tensor, convention: Convention) -> Tensor:
    """The masks (b, 1, H, W) in [0, 1] of channels (b, h, w), at the resolution of the image."""
    masks = maps[:, None]  # (b, 1, h, w)
    if convention == "logit":
        masks = _scaled(masks)
    masks = F.interpolate(masks, size=image.shape[2:], mode="bilinear", align_corners=False)  # (b, 1, H, W)
    return masks if convention == "logit" else _scaled(masks)


def _scaled(masks: Tensor) -> Tensor:
    """Each mask scaled linearly to [0, 1]; a constant mask becomes 0."""
    low, high = masks.amin(dim=(2, 3), keepdim=True), masks.amax(dim=(2, 3), keepdim=True)  # (b, 1, 1, 1)
    return (masks - low) / torch.where(high > low, high - low, 1)  # (b, 1, H, W)


def _noise(like: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal noise of shape (b, C, H, W), drawn per sample, so that it does not depend on the chunk size."""
    drawn = [torch.randn(like.shape[1:], generator=generator, dtype=like.dtype) for _ in range(len(like))]
    return torch.stack(drawn).to(like.device)  # (b, C, H, W)
