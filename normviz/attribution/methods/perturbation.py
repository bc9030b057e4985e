"""Attribution by showing the network the image through each channel and watching the class's score."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from normviz.attribution.engine.probe import Probe
from normviz.attribution.engine.scorer import TRIAL, Precision, Scorer, Steps, check_choice
from normviz.registry import Range, register

Convention = Literal["logit", "paper", "official"]
Where = Literal["mask", "image"]
Path = Literal["cumulative", "straight"]
Report = Callable[[Tensor], None]
_IN_WORDS: dict[Convention, str] = {  # which score, which weights
    "logit": "the score is {score}, the weights are its softmax over the channels",
    "paper": "the score is the class's probability, the weights are its softmax over the channels",
    "official": "the score is the class's probability, and is the weight",
}
See = Callable[[Tensor, Tensor], Tensor]  # an image (1, C, H, W) and channels (b, h, w) -> pictures (b, C, H, W)


@register(
    title="Score-CAM", kind="attribution", cite="wang2020score", level="layer", unit="activation",
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
    """Each channel weighted by the class's score of the image that is seen through this channel.

    Needs no gradient, but one forward pass per channel; channels that are constant share one.
    Memory grows with `chunk`, not with the number of channels.

    Args:
        probe: network, images, class and layer.
        convention: "logit": softmax over the channels of the logits, masks scaled to [0, 1] and then
            enlarged (as torch-cam). "paper": softmax over the channels of the probabilities, masks
            enlarged and then scaled; the paper's baseline cancels in it. "official" (the authors' code):
            the probabilities themselves, constant channels skipped.
        precision: "full": the network's own. "auto": bfloat16 where a timed trial on a few channels shows it
            faster, and close.
            "bfloat16": in any case; on a trained network the map then differs by some tenths of a percent.
        chunk: masked images in one forward pass; changes speed and memory, not the map.
        progress: called with the finished share, 0 to 1, after each chunk; may raise to cancel.
        preview: called with the map of the channels so far, the widest ranging ones first, after each chunk.
        note: called with a sentence that says how the map was computed.

    Returns:
        (N, h, w), at least 0, in units of the activations ("official": times probability).

    Raises:
        ValueError: chunk below 1, an unknown convention or precision, a probability of something that is no class,
            or bfloat16 asked of a network that cannot run in it.

    Source:
        Wang et al. 2020, Eq. 4 to 6 and algorithm 1.
    """
    check_choice("score_cam", convention, Convention)
    check_choice("score_cam", precision, Precision)
    if convention != "logit":
        _ = probe.target  # refuses what is no class, and so has no probability
    activations = probe.activations  # (N, K, h, w)
    varies = _varies(activations)  # (N, K)
    rest = convention != "official"  # whether constant channels get the score of the black image
    steps = Steps(chunk, [n for row in varies for n in _parts(row, rest)], progress)
    scorer = Scorer(probe, "logit" if convention == "logit" else "probability", precision)

    def see(image: Tensor, maps: Tensor) -> Tensor:
        return image * _enlarged(maps, image, convention)  # (b, C, H, W)

    if precision == "auto":
        trial = activations[0, : min(chunk, TRIAL)]  # (b, h, w)
        scorer.choose(see(probe.images[:1], trial), int(varies.sum()))
    found = _Weights(activations, softmax=rest, preview=preview)
    for index, alive in enumerate(varies):
        _score_channels(probe, scorer, found, index, alive, rest, see, chunk, steps)
    if note:
        score = "the logit" if isinstance(probe.objective, Tensor) else "the target's value"
        note(f"Convention “{convention}”: {_IN_WORDS[convention].format(score=score)}. {scorer.sentence()}")
    return found.heatmap()


@register(
    title="SS-CAM", kind="attribution", cite="wang2020smoothed", level="layer", unit="activation",
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
    """Score-CAM whose scores are averages over noisy copies of what is seen through each channel.

    Codes differ in what sigma is a share of. Here it is the range of what the noise is added to. torch-cam adds it to
    the mask scaled to [0, 1] too, with sigma 2 and 35 samples; the authors' code adds it to the channel before it is
    scaled, with a standard deviation of (2 / range) squared, and weighs by probabilities without softmax.

    Args:
        probe: network, images, class and layer.
        samples: noisy copies per channel, each one forward pass.
        sigma: the standard deviation of the noise, as a share of the range of what it is added to; 0 is Score-CAM.
        where: what the noise is added to: the "mask", or the masked "image".
        seed: of the noise, which is the same for each image.
        chunk: pictures in one forward pass; changes speed and memory, not the map.
        progress: called with the finished share, 0 to 1, after each chunk; may raise to cancel.
        preview: called with the map of the scores so far after each chunk.
        note: called with a sentence that says how the map was computed.

    Returns:
        (N, h, w), at least 0, in units of the activations.

    Raises:
        ValueError: chunk or samples below 1, or an unknown place.

    Source:
        Wang et al. 2020 (SS-CAM), its two kinds of smoothing: of the feature map, and of the input.
    """
    check_choice("ss_cam", where, Where)
    if samples < 1:
        raise ValueError(f"samples must be at least 1; received {samples}")
    activations = probe.activations  # (N, K, h, w)
    channels = activations.shape[1]
    steps = Steps(chunk, [channels] * samples * len(activations), progress)
    scorer = Scorer(probe)
    found = _Weights(activations, softmax=True, preview=preview)
    all_of_them = activations.new_ones(channels, dtype=torch.bool)  # (K,); noise makes constant channels differ
    for index in range(len(activations)):
        generator = torch.Generator().manual_seed(seed)

        def see(image: Tensor, maps: Tensor, generator: torch.Generator = generator) -> Tensor:
            masks = _enlarged(maps, image, "logit")  # (b, 1, H, W)
            if where == "mask":
                return image * (masks + sigma * _noise(masks, generator))  # (b, C, H, W)
            seen = image * masks  # (b, C, H, W)
            spread = seen.amax(dim=(1, 2, 3), keepdim=True) - seen.amin(dim=(1, 2, 3), keepdim=True)  # (b, 1, 1, 1)
            return seen + sigma * spread * _noise(seen, generator)

        for _ in range(samples):
            _score_channels(probe, scorer, found, index, all_of_them, False, see, chunk, steps, ranked=False)
    if note:
        note(f"{samples} noisy copies of each channel's picture, seed {seed}. {scorer.sentence()}")
    return found.heatmap()


@register(
    title="IS-CAM", kind="attribution", cite="naidu2020integrated", level="layer", unit="activation",
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
    """Score-CAM whose scores are averages over brighter and brighter copies of what is seen through each channel.

    The public codes add q / n of the masked image in each step q to what was there before, so the picture ends
    (n + 1) / 2 times as bright as the masked image. "straight" stops at the masked image, as an integral along
    the way from black to it would. With one step both are Score-CAM.

    Args:
        probe: network, images, class and layer.
        steps: pictures per channel, each one forward pass.
        path: how bright the pictures are: "cumulative" r (r + 1) / 2n times the masked image in step r (torch-cam),
            or "straight" r / n times.
        chunk: pictures in one forward pass; changes speed and memory, not the map.
        progress: called with the finished share, 0 to 1, after each chunk; may raise to cancel.
        preview: called with the map of the scores so far after each chunk.
        note: called with a sentence that says how the map was computed.

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
    found = _Weights(activations, softmax=True, preview=preview)
    for index, alive in enumerate(varies):
        for step in range(1, steps + 1):
            brightness = step * (step + 1) / (2 * steps) if path == "cumulative" else step / steps

            def see(image: Tensor, maps: Tensor, brightness: float = brightness) -> Tensor:
                return brightness * image * _enlarged(maps, image, "logit")  # (b, C, H, W)

            _score_channels(probe, scorer, found, index, alive, True, see, chunk, count)
    if note:
        note(f"{steps} steps for each channel, {path}. {scorer.sentence()}")
    return found.heatmap()


class _Weights:
    """The scores of channels as they come in, and the map that they make."""

    def __init__(self, activations: Tensor, softmax: bool, preview: Report | None) -> None:
        self._activations, self._softmax, self._preview = activations, softmax, preview
        self._total = activations.new_zeros(activations.shape[:2])  # (N, K)
        self._count = torch.zeros_like(self._total)  # (N, K), scores per channel

    def add(self, index: int, channels: Tensor, scores: Tensor) -> None:
        """One more score for these channels (b,) of image `index`: (b,), or () where they share it."""
        self._total[index, channels] += scores
        self._count[index, channels] += 1

    def show(self) -> None:
        """Hand the map so far to whoever watches."""
        if self._preview:
            self._preview(self.heatmap())

    def heatmap(self) -> Tensor:
        """The map (N, h, w) of the channels that have a score, by the mean of theirs."""
        known = self._count > 0  # (N, K)
        weight = self._total / self._count.clamp(min=1)  # (N, K)
        if self._softmax:
            some = known.any(dim=1, keepdim=True)  # (N, 1)
            weight = torch.where(known | ~some, weight, -torch.inf).softmax(dim=1) * some  # (N, K)
        return (weight[:, :, None, None] * self._activations).sum(dim=1).relu()  # (N, h, w)


def _score_channels(
    probe: Probe,
    scorer: Scorer,
    found: _Weights,
    index: int,
    alive: Tensor,
    rest: bool,
    see: See,
    chunk: int,
    steps: Steps,
    ranked: bool = True,
) -> None:
    """Score image `index` through each channel that is alive (K,), and if `rest`, the others as one black image."""
    image, maps = probe.images[index : index + 1], probe.activations[index]  # (1, C, H, W), (K, h, w)
    order = alive.nonzero()[:, 0]  # (K',)
    if ranked:  # the widest ranging channels first, for the preview
        spread = maps[order].amax(dim=(1, 2)) - maps[order].amin(dim=(1, 2))  # (K',)
        order = order[spread.argsort(descending=True, stable=True)]
    for part in _chunks(order, chunk):
        found.add(index, part, scorer.scores(see(image, maps[part]), index))
        steps.advance()
        found.show()
    if rest and not alive.all():
        others = (~alive).nonzero()[:, 0]  # (K - K',)
        found.add(index, others, scorer.scores(torch.zeros_like(image), index)[0])
        steps.advance()
        found.show()


def _parts(alive: Tensor, rest: bool) -> tuple[int, int]:
    """How many pictures the channels (K,) need: one each, and one for all that are constant."""
    return int(alive.sum()), int(rest and not alive.all())


def _chunks(order: Tensor, chunk: int) -> Iterator[Tensor]:
    """Channel numbers (K',) in parts of at most `chunk`."""
    return iter(torch.split(order, chunk)) if len(order) else iter(())


def _varies(activations: Tensor) -> Tensor:
    """Which channels are not constant: (N, K), bool."""
    return activations.amax(dim=(2, 3)) > activations.amin(dim=(2, 3))


def _enlarged(maps: Tensor, image: Tensor, convention: Convention) -> Tensor:
    """The masks (b, 1, H, W) in [0, 1] of channels (b, h, w)."""
    masks = maps[:, None]  # (b, 1, h, w)
    if convention == "logit":
        masks = _scaled(masks)
    masks = F.interpolate(masks, size=image.shape[2:], mode="bilinear", align_corners=False)  # (b, 1, H, W)
    return masks if convention == "logit" else _scaled(masks)


def _scaled(masks: Tensor) -> Tensor:
    """Each mask from its minimum at 0 to its maximum at 1; a constant one becomes 0."""
    low, high = masks.amin(dim=(2, 3), keepdim=True), masks.amax(dim=(2, 3), keepdim=True)  # (b, 1, 1, 1)
    return (masks - low) / torch.where(high > low, high - low, 1)  # (b, 1, H, W)


def _noise(like: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal numbers in the shape (b, C, H, W), drawn picture by picture: the chunk does not change them."""
    drawn = [torch.randn(like.shape[1:], generator=generator, dtype=like.dtype) for _ in range(len(like))]
    return torch.stack(drawn).to(like.device)  # (b, C, H, W)
