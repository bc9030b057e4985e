"""Sanity check: similarity of maps before and after randomizing the weights of the network.

A map that does not change does not depend on what the network has learned.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from normviz.attribution.engine.model_copy import structural_copy
from normviz.attribution.engine.network import read_output
from normviz.attribution.engine.probe import Probe
from normviz.evaluation.faithfulness.measures import Progress
from normviz.evaluation.pixels import at_pixels

FEWEST = 5  # smallest number of layer groups, if the module names allow it
WINDOW = 7  # side of the SSIM window in pixels


@dataclass(frozen=True)
class Stage:
    """A map of a partly randomized network, compared with the map of the trained one.

    Attributes:
        layers: name of the group of layers that was randomized last; "" for the trained network.
        heatmap: raw map, as returned by the method for one image: (h, w) or (C, H, W), on the CPU.
        ssim: structural similarity of both maps, at most 1.
        rank: Spearman rank correlation of their values, from -1 to 1.
        absolute_rank: Spearman rank correlation of their absolute values.
    """

    layers: str
    heatmap: Tensor
    ssim: float
    rank: float
    absolute_rank: float


def groups(model: nn.Module, images: Tensor) -> dict[str, tuple[str, ...]]:
    """Group the modules with weights, from the output to the input, in order of execution.

    A group has the first parts of the module names as its name; as few parts as give at least FEWEST groups.

    Args:
        model: the network; it is not changed.
        images: (N, C, H, W), used to record the order of execution.

    Returns:
        Module names by group name.

    Raises:
        ValueError: if the model has no weights.
    """
    net = structural_copy(model)
    ran: list[str] = []
    for name, module in net.named_modules():
        if any(parameter is not None for parameter in module._parameters.values()):
            module.register_forward_pre_hook(lambda module, args, name=name: ran.append(name))
    with torch.inference_mode():
        read_output(net, images[:1].clone())
    names = list(dict.fromkeys(reversed(ran)))  # each at its last execution
    if not names:
        raise ValueError("the model has no weights to randomize")
    for depth in range(1, 1 + max(name.count(".") + 1 for name in names)):
        found: dict[str, list[str]] = {}
        for name in names:
            found.setdefault(".".join(name.split(".")[:depth]), []).append(name)
        if len(found) >= FEWEST:
            break
    return {group: tuple(members) for group, members in found.items()}


def randomized(model: nn.Module, modules: Sequence[str], seed: int) -> nn.Module:
    """Copy the network and randomize the weights of some modules.

    Weights are drawn from a normal distribution with the mean and the standard deviation of the trained tensor, so
    activations keep their scale. Running statistics do not change. The result does not depend on the module order.

    Args:
        model: the network; it is not changed.
        modules: names of the modules to randomize.
        seed: seed of the random weights.
    """
    own = copy.deepcopy(structural_copy(model))
    numbers = {name: number for number, (name, _) in enumerate(own.named_modules())}
    with torch.no_grad():
        for name in modules:
            generator = torch.Generator().manual_seed(1000 * seed + numbers[name])
            for parameter in own.get_submodule(name)._parameters.values():
                if parameter is not None:
                    spread, mean = torch.std_mean(parameter, correction=0)
                    drawn = torch.randn(parameter.shape, generator=generator).to(parameter)
                    torch.addcmul(mean, drawn, spread, out=parameter)
    return own


def sanity_check(
    probe: Probe,
    functions: Mapping[str, Callable[..., Tensor]],
    *,
    independent: bool = False,
    seed: int = 0,
    index: int = 0,
    progress: Progress | None = None,
) -> dict[str, tuple[Stage, ...]]:
    """Compute the maps of one image while more and more layers are randomized.

    All methods use the same randomized networks and share one forward pass of each.

    Args:
        probe: network, images, target and layer; the target stays that of the trained network.
        functions: attribution functions of a probe, by name; they may accept a `progress` argument.
        independent: randomize one group of layers at a time and keep the others trained; otherwise randomize
            cumulatively from the output to the input.
        seed: seed of the random weights.
        index: index of the image in the probe.
        progress: called with the finished share, 0 to 1, after each network and from methods that report progress;
            may raise to cancel.

    Returns:
        By name: the map of the trained network, and one stage for each group of layers.

    Source:
        Adebayo et al. 2018 (1810.03292), the model parameter randomization test.
    """
    image, asked = probe.images[index : index + 1], probe.objective  # (1, C, H, W)
    target = asked[index : index + 1] if isinstance(asked, Tensor) else asked
    layer, size = _layer_of(probe), (image.shape[2], image.shape[3])

    parts = groups(probe.model, image)
    slow = [name for name, function in functions.items() if "progress" in inspect.signature(function).parameters]

    def compute_maps(model: nn.Module, done: int) -> dict[str, Tensor]:
        """Compute the maps of one network after `done` finished networks."""

        def report(share: float, before: int = 0) -> None:
            if progress:
                progress((done + (before + share) / max(1, len(slow))) / (1 + len(parts)))

        shared = Probe(model, image, target, layer)
        calls = {name: {"progress": partial(report, before=number)} for number, name in enumerate(slow)}
        maps = {name: function(shared, **calls.get(name, {}))[0].detach().cpu() for name, function in functions.items()}
        report(max(1, len(slow)))
        return maps

    trained = compute_maps(probe.model, 0)
    stages = {name: [Stage("", heatmap, 1.0, 1.0, 1.0)] for name, heatmap in trained.items()}
    changed: list[str] = []
    for done, (group, modules) in enumerate(parts.items(), start=1):
        changed = list(modules) if independent else [*changed, *modules]
        for name, heatmap in compute_maps(randomized(probe.model, changed, seed), done).items():
            stages[name].append(Stage(group, heatmap, *similarity(trained[name], heatmap, size)))
    return {name: tuple(several) for name, several in stages.items()}


def _layer_of(probe: Probe) -> str | None:
    try:
        return probe.layer
    except ValueError:  # no layer has feature maps; methods at the input do not need one
        return None


def similarity(one: Tensor, other: Tensor, size: tuple[int, int]) -> tuple[float, float, float]:
    """Compute SSIM, rank correlation, and rank correlation of the absolute values of two raw maps, per pixel.

    SSIM is that of scikit-image with a uniform 7 x 7 window, K1 = 0.01 and K2 = 0.03, on maps divided by their largest
    absolute value, with a data range of 2. If a map is constant or not finite, the correlations are 0, unless both maps
    are equal.

    Args:
        one: (h, w) or (C, H, W).
        other: of the same shape.
        size: (H, W) pixels, at least 7 per side.
    """
    if torch.equal(one, other):
        return 1.0, 1.0, 1.0
    if not torch.isfinite(other).all():
        return 0.0, 0.0, 0.0
    from skimage.metrics import structural_similarity

    first, second = (_scaled(at_pixels(heatmap, size)) for heatmap in (one, other))  # (H, W) each
    compare: Any = structural_similarity
    ssim = float(compare(first, second, win_size=WINDOW, data_range=2.0))
    return ssim, spearman(first, second), spearman(np.abs(first), np.abs(second))


def _scaled(heatmap: Tensor) -> NDArray[np.float64]:
    """Divide a map by its largest absolute value."""
    values: NDArray[np.float64] = heatmap.double().numpy()
    top = float(np.abs(values).max())
    return values / top if top > 0 else values


def spearman(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Compute the Spearman rank correlation of two arrays of equal size; 0 if one of them is constant."""
    from scipy.stats import spearmanr

    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    return float(spearmanr(one, other, axis=None).statistic)
