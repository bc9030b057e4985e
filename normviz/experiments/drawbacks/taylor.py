"""Drawback of saliency: how far from the photo its first-order Taylor expansion is accurate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from normviz.attribution import Probe
from normviz.attribution.compare import make_map
from normviz.experiments.drawbacks.drawback import (
    DrawbackInput,
    DrawbackResult,
    Progress,
    Tile,
    drawback,
    map_tile,
    to_pictures,
)
from normviz.experiments.results import Curve, Curves, Fact, array
from normviz.registry import get

STEPS = 20  # steps along a path
SEED = 0  # seed of the noise


@dataclass(frozen=True)
class Path:
    """The score along a straight line from a photo.

    Attributes:
        t: (P,) position along the path, from 0 to 1.
        exact: (P,) S(x + t d), in logits.
        linear: (P,) S(x) + t g·d, in logits.
    """

    t: NDArray[np.float64]
    exact: NDArray[np.float64]
    linear: NDArray[np.float64]

    @property
    def error(self) -> NDArray[np.float64]:
        """|exact - linear|: (P,), in logits."""
        return np.abs(self.exact - self.linear)

    def holds_until(self, share: float = 0.5) -> float:
        """Return the last position before the error first exceeds `share` of the change of the score."""
        changed = np.abs(self.exact - self.exact[0])  # (P,)
        wrong = np.flatnonzero(self.error > share * changed + 1e-9 * (1 + np.abs(self.exact)))
        return float(self.t[wrong[0] - 1]) if len(wrong) else 1.0


def along(probe: Probe, direction: Tensor, steps: int = STEPS) -> Path:
    """Compute the score of the first image and its first-order expansion along a direction.

    Args:
        probe: network, images and target.
        direction: d (1, C, H, W), from the photo to the end of the path.
        steps: number of steps along the path.

    Raises:
        ValueError: if the shape differs from the image, or if steps is below 1.

    Source:
        Simonyan et al. 2013, Eq. 3 and 4: S_c(I) is approximated by w·I + b with w the gradient at the photo.
    """
    image = probe.images[:1]  # (1, C, H, W)
    if direction.shape != image.shape:
        raise ValueError(f"the direction must have the image's shape {tuple(image.shape)}; received "
                         f"{tuple(direction.shape)}")  # fmt: skip
    if steps < 1:
        raise ValueError(f"a path needs at least one step; received {steps}")
    t = torch.linspace(0, 1, steps + 1, dtype=image.dtype, device=image.device)  # (P,)
    parts = torch.split(t, 16)
    exact = torch.cat([probe.score_at(image + part[:, None, None, None] * direction) for part in parts])  # (P,)
    slope = (probe.input_gradient[:1].double() * direction.double()).sum()  # ()
    linear = probe.score[0].double() + t.double() * slope  # (P,)
    return Path(array(t), array(exact), array(linear))


def directions(probe: Probe) -> dict[str, Tensor]:
    """Return three directions (1, C, H, W): to gray, noise of the same length, and a tenth of it up the gradient."""
    image, gradient = probe.images[:1], probe.input_gradient[:1]  # (1, C, H, W)
    length = image.norm()
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(SEED)).to(image)  # (1, C, H, W)
    return {
        "fading to gray": -image,
        "adding noise": noise * length / noise.norm(),
        "up the gradient": gradient * length / gradient.norm().clamp(min=1e-30) / 10,
    }


@drawback("Saliency is only a first-order expansion")
def first_order(setting: DrawbackInput, progress: Progress) -> DrawbackResult:
    """Compare the score along three paths with the prediction of the gradient at the photo."""
    probe = setting.probe()
    pictures, facts, tiles = (
        [],
        [],
        [map_tile(make_map(get("saliency", "attribution"), probe), "Saliency at the photo")],
    )
    paths = directions(probe)
    for number, (name, direction) in enumerate(paths.items()):
        path = along(probe, direction)
        pictures.append(Curves(
            name[0].upper() + name[1:], "share of the path", f"logit of {setting.name}",
            (Curve("network", path.t, path.exact), Curve("first order", path.t, path.linear, "expected")),
        ))  # fmt: skip
        size = float(direction.norm() / probe.images[:1].norm())
        facts.append(
            Fact(f"{name}: error of the first order after a tenth of the path, in logits", path.error[STEPS // 10])
        )
        facts.append(Fact(f"{name}: error at the end of the path, in logits", path.error[-1]))
        facts.append(Fact(f"{name}: share of the path before the error exceeds half of the change",
                          path.holds_until()))  # fmt: skip
        (end,) = to_pictures(setting.classifier, probe.images[:1] + direction / 2)
        tiles.append(
            Tile(f"Halfway, {name}", photo=end, caption=f"the path is {size:.2g} × as long as the norm of the photo")
        )
        progress((number + 1) / len(paths))
    return DrawbackResult(
        "Saliency is the slope of the score at this photo. The prediction is accurate only up to the point where the "
        "solid line leaves the dotted one.",
        (tuple(tiles),), tuple(pictures), tuple(facts),
    )  # fmt: skip
