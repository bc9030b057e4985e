"""What methods that ask the network many times share: a copy made for many forward passes, and the count of them."""

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
TRIAL = 8  # pictures on which precisions are tried, three times
LARGEST_MOVE = 0.1  # of these pictures' scores, relative; a map, which sums many, moves by about a tenth of that


def check_choice(method: str, given: str, offered: object) -> None:
    """Refuse a value that is none of a Literal's.

    Raises:
        ValueError: that.
    """
    names = get_args(offered)
    if given not in names:
        raise ValueError(f"{method} offers {', '.join(names)}; received {given!r}")


class Steps:
    """Counts the chunks that are done.

    Args:
        chunk: pictures in one chunk.
        counts: how many pictures each part of the work has; no chunk reaches from one part into the next.
        progress: called with the finished share, 0 to 1, after each chunk; may raise to cancel.

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
        """One chunk more is done."""
        self._done += 1
        if self._progress:
            self._progress(min(1.0, self._done / self._all))


class Scorer:
    """The target's score of many pictures, by a private copy of the network made for many forward passes.

    Its batch norms are folded, its weights lie channels last, perhaps in bfloat16.

    Args:
        probe: network, images and target.
        read: "logit", or the class's softmax "probability"; a target that is no class has one score of its own.
        precision: as for `score_cam`; "auto" is in the network's own until `choose` is called.

    Raises:
        ValueError: a network that cannot be copied, or that cannot run in bfloat16 if that is asked for.
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
        """The score (b,) of each picture (b, C, H, W), for what is asked of image `index`."""
        with torch.inference_mode():
            given = pictures.to(self._type).contiguous(memory_format=torch.channels_last)  # (b, C, H, W)
            output = read_output(self._net, given)
            if not isinstance(self._objective, Tensor):
                scores = score_of(self._objective, output, pictures).to(pictures.dtype)  # (b,)
            else:
                logits = as_logits(output, pictures).to(pictures.dtype)  # (b, classes)
                logits = logits.softmax(dim=1) if self._read == "probability" else logits
                scores = logits[:, self._objective[index]]  # (b,)
        return scores.clone()

    def choose(self, pictures: Tensor, count: int) -> None:
        """Take bfloat16 if these few pictures (b, C, H, W) of all are scored faster in it, and nearly the same.

        Args:
            pictures: of the first image.
            count: how many pictures there are in all.
        """
        if self._type != torch.float32 or count < 8 * len(pictures):
            self._speed = "bfloat16 not tried, as there is too little to gain"
            return
        own = self._net, self._type
        before, exact = self._timed(pictures)
        try:
            self._reduce()
            self._timed(pictures)  # the first run in a new precision prepares kernels
        except ValueError as error:
            self._net, self._type = own
            self._speed = f"bfloat16 is not possible ({error})"
            return
        after, rounded = self._timed(pictures)
        off = float((rounded - exact).norm() / exact.norm())
        self._speed = (
            f"{len(pictures)} channels took {1000 * before:.0f} ms in float32, {1000 * after:.0f} ms in bfloat16, "
            f"which moves their weights by {off:.1%}"
        )
        if after > 0.9 * before or not off <= LARGEST_MOVE:
            self._net, self._type = own

    def sentence(self) -> str:
        """How the scores were computed."""
        name = str(self._type).removeprefix("torch.")
        return "; ".join(filter(None, (f"Scores computed in {name}", self._speed, self._folding))) + "."

    def _reduce(self) -> None:
        with torch.inference_mode():
            self._net, self._type = deepcopy(self._net).to(torch.bfloat16), torch.bfloat16

    def _timed(self, pictures: Tensor) -> tuple[float, Tensor]:
        """Seconds, and the weights (b,) of these pictures among themselves."""
        start = time.perf_counter()
        scores = self.scores(pictures, 0).cpu()  # (b,); waits for the device
        taken = time.perf_counter() - start
        return taken, scores.softmax(dim=0) if self._read == "logit" else scores  # (b,)
