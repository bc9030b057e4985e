"""Scores of many perturbed images, with a copy of the network optimized for inference, and progress reports."""

from __future__ import annotations

import time
from collections.abc import Callable
from copy import deepcopy
from typing import Literal, get_args

import torch
from torch import Tensor

from normviz.attribution.engine.folding import folded_copy
from normviz.attribution.engine.forward import score_of
from normviz.attribution.engine.network import as_logits, read_output
from normviz.attribution.engine.probe import Probe

Precision = Literal["full", "auto", "bfloat16"]
Read = Literal["logit", "probability"]
TRIAL = 8  # number of images for timing each precision
MAX_ERROR = 0.1  # relative error of the scores in bfloat16 that is accepted; the error of the map is about a tenth


def check_choice(method: str, given: str, offered: object) -> None:
    """Check that an option is one of the values of a Literal.

    Raises:
        ValueError: it is not.
    """
    names = get_args(offered)
    if given not in names:
        raise ValueError(f"{method} supports {', '.join(names)}; received {given!r}")


class Steps:
    """Progress over chunks of images.

    Args:
        chunk: number of images in one chunk.
        counts: number of images of each part of the work; a chunk contains images of one part only.
        progress: called after each chunk with the finished fraction, 0 to 1; may raise to cancel.

    Raises:
        ValueError: chunk below 1.
    """

    def __init__(self, chunk: int, counts: list[int], progress: Callable[[float], None] | None) -> None:
        if chunk < 1:
            raise ValueError(f"chunk must be at least 1; received {chunk}")
        self._all = sum(-(-count // chunk) for count in counts)
        self._done = 0
        self._progress = progress

    def advance(self) -> None:
        """Report one more chunk as finished."""
        self._done += 1
        if self._progress:
            self._progress(min(1.0, self._done / self._all))


class Scorer:
    """The scores of many images, computed by a copy of the network that is optimized for inference.

    Batch norms are folded, and weights are stored channels-last, optionally in bfloat16.

    Args:
        probe: network, images and target.
        read: "logit", or the class's softmax "probability"; ignored if the target is not a class.
        precision: as for `score_cam`; "auto" uses the network's precision until `choose` is called.

    Raises:
        ValueError: the network cannot be copied, or cannot run in bfloat16 if that is requested.
    """

    def __init__(self, probe: Probe, read: Read = "logit", precision: Precision = "full") -> None:
        self._objective, self._read = probe.objective, read
        self._type = probe.images.dtype
        self._speed = ""
        with torch.inference_mode():
            net, self._folding = folded_copy(probe.model, probe.images[:1])
            self._net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            if precision == "bfloat16":
                self._reduce()

    def scores(self, pictures: Tensor, index: int) -> Tensor:
        """The score (b,) of each image (b, C, H, W), with the target of image `index` of the probe."""
        with torch.inference_mode():
            inputs = pictures.to(self._type).contiguous(memory_format=torch.channels_last)  # (b, C, H, W)
            output = read_output(self._net, inputs)
            if not isinstance(self._objective, Tensor):
                scores = score_of(self._objective, output, pictures).to(pictures.dtype)  # (b,)
            else:
                logits = as_logits(output, pictures).to(pictures.dtype)  # (b, classes)
                logits = logits.softmax(dim=1) if self._read == "probability" else logits
                scores = logits[:, self._objective[index]]  # (b,)
        return scores.clone()

    def choose(self, pictures: Tensor, count: int) -> None:
        """Switch to bfloat16 if a trial on a few images (b, C, H, W) is faster in it, with nearly the same scores.

        Args:
            pictures: perturbed versions of the first image.
            count: total number of images to score.
        """
        if self._type != torch.float32 or count < 8 * len(pictures):
            self._speed = "bfloat16 not tried, because few images are scored"
            return
        own = self._net, self._type
        before, exact = self._timed(pictures)
        try:
            self._reduce()
            self._timed(pictures)  # warm-up of kernels in the new precision
        except ValueError as error:
            self._net, self._type = own
            self._speed = f"bfloat16 is not supported ({error})"
            return
        after, rounded = self._timed(pictures)
        error_share = float((rounded - exact).norm() / exact.norm())
        self._speed = (
            f"{len(pictures)} channels took {1000 * before:.0f} ms in float32, {1000 * after:.0f} ms in bfloat16, "
            f"with a relative error of {error_share:.1%} in their weights"
        )
        if after > 0.9 * before or not error_share <= MAX_ERROR:
            self._net, self._type = own

    def sentence(self) -> str:
        """A description of how the scores were computed."""
        name = str(self._type).removeprefix("torch.")
        return "; ".join(filter(None, (f"Scores computed in {name}", self._speed, self._folding))) + "."

    def _reduce(self) -> None:
        with torch.inference_mode():
            self._net, self._type = deepcopy(self._net).to(torch.bfloat16), torch.bfloat16

    def _timed(self, pictures: Tensor) -> tuple[float, Tensor]:
        """The time in seconds, and the normalized weights (b,) of these images."""
        start = time.perf_counter()
        scores = self.scores(pictures, 0).cpu()  # (b,); synchronizes with the device
        taken = time.perf_counter() - start
        return taken, scores.softmax(dim=0) if self._read == "logit" else scores  # (b,)
