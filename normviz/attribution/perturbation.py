"""Attribution by perturbing the input and watching the class's score."""

from __future__ import annotations

import time
from collections.abc import Callable
from copy import deepcopy
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from normviz.attribution.folding import folded_copy
from normviz.attribution.network import read_logits
from normviz.attribution.probe import Probe
from normviz.registry import register

Convention = Literal["logit", "paper", "official"]
Precision = Literal["full", "auto", "bfloat16"]
TRIAL = 8  # channels on which precisions are tried, three times
LARGEST_MOVE = 0.1  # of these channels' weights, relative; a map, which sums many, moves by about a tenth of that


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
        note: called with a sentence that says how the map was computed.

    Returns:
        (N, h, w), at least 0, in units of the activations ("official": times probability).

    Raises:
        ValueError: chunk below 1, an unknown convention or precision, or bfloat16 asked of a network that
            cannot run in it.

    Source:
        Wang et al. 2020, Eq. 4 to 6 and algorithm 1.
    """
    for given, offered in ((convention, get_args(Convention)), (precision, get_args(Precision))):
        if given not in offered:
            raise ValueError(f"score_cam offers {', '.join(offered)}; received {given!r}")
    if chunk < 1:
        raise ValueError(f"chunk must be at least 1; received {chunk}")
    activations = probe.activations  # (N, K, h, w)
    spread = activations.amax(dim=(2, 3)) > activations.amin(dim=(2, 3))  # (N, K)
    steps = sum(-(-int(row.sum()) // chunk) for row in spread) or 1
    done = 0

    def advance() -> None:
        nonlocal done
        done += 1
        if progress:
            progress(min(1.0, done / steps))

    with torch.inference_mode():
        scorer = _Scorer(probe, precision, convention)
        if precision == "auto":
            scorer.choose(activations[0, : min(chunk, TRIAL)], int(spread.sum()))
        weights = []
        for index, alive in enumerate(spread):
            maps, scores = activations[index, alive], activations.new_zeros(len(alive))  # (K', h, w), (K,)
            parts = []
            for part in torch.split(maps, chunk):
                if len(part):
                    parts.append(scorer.scores(part, index))  # (b,)
                    advance()
            if parts:
                scores[alive] = torch.cat(parts)  # (K',)
            if convention != "official":
                if not alive.all():
                    scores[~alive] = scorer.scores(maps.new_zeros(1, *maps.shape[1:]), index)  # the black image's
                scores = scores.softmax(dim=0)  # (K,)
            weights.append(scores)
        weight = torch.stack(weights)[:, :, None, None]  # (N, K, 1, 1)
    if note:
        note(scorer.sentence())
    return (weight.clone() * activations).sum(dim=1).relu()  # (N, h, w)


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


class _Scorer:
    """Scores of masked images, by a private copy made for many forward passes.

    Its batch norms are folded, its weights lie channels last, perhaps in bfloat16.
    """

    def __init__(self, probe: Probe, precision: Precision, convention: Convention) -> None:
        self._probe, self._convention = probe, convention
        net, self._folding = folded_copy(probe.model, probe.images[:1], probe.logits[:1])
        self._net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._type = probe.images.dtype
        self._speed = ""
        if precision == "bfloat16":
            self._reduce()

    def scores(self, maps: Tensor, index: int) -> Tensor:
        """The target's score (b,) of image `index` seen through each of the channels (b, h, w)."""
        image, target = self._probe.images[index : index + 1], self._probe.target[index]  # (1, C, H, W), ()
        seen = image * _enlarged(maps, image, self._convention)  # (b, C, H, W)
        seen = seen.to(self._type).contiguous(memory_format=torch.channels_last)
        logits = read_logits(self._net, seen).to(image.dtype)  # (b, classes)
        return (logits if self._convention == "logit" else logits.softmax(dim=1))[:, target]  # (b,)

    def choose(self, maps: Tensor, channels: int) -> None:
        """Take bfloat16 if these few channels (b, h, w) of all are scored faster in it, and nearly the same."""
        if self._type != torch.float32 or channels < 8 * len(maps):
            self._speed = "bfloat16 not tried, as there is too little to gain"
            return
        own = self._net, self._type
        before, exact = self._timed(maps)
        try:
            self._reduce()
            self._timed(maps)  # the first run in a new precision prepares kernels
        except ValueError as error:
            self._net, self._type = own
            self._speed = f"bfloat16 is not possible ({error})"
            return
        after, rounded = self._timed(maps)
        off = float((rounded - exact).norm() / exact.norm())
        self._speed = (
            f"{len(maps)} channels took {1000 * before:.0f} ms in float32, {1000 * after:.0f} ms in bfloat16, "
            f"which moves their weights by {off:.1%}"
        )
        if after > 0.9 * before or not off <= LARGEST_MOVE:
            self._net, self._type = own

    def sentence(self) -> str:
        """How the scores were computed."""
        name = str(self._type).removeprefix("torch.")
        return "; ".join(filter(None, (f"Scores computed in {name}", self._speed, self._folding))) + "."

    def _reduce(self) -> None:
        self._net, self._type = deepcopy(self._net).to(torch.bfloat16), torch.bfloat16

    def _timed(self, maps: Tensor) -> tuple[float, Tensor]:
        """Seconds, and the weights (b,) of these channels among themselves."""
        start = time.perf_counter()
        scores = self.scores(maps, 0).cpu()  # (b,); waits for the device
        taken = time.perf_counter() - start
        return taken, scores.softmax(dim=0) if self._convention == "logit" else scores  # (b,)
