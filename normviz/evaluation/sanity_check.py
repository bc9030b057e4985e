"""Sanity check: does a map change when the network's weights are made random? One that does not is no explanation."""

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

FEWEST = 5  # groups of layers that a network is at least divided into, if its names allow
WINDOW = 7  # pixels a side of SSIM's window


@dataclass(frozen=True)
class Stage:
    """A map of a network that is partly random, beside the map of the trained one.

    Attributes:
        layers: what was made random last, the name of a group of layers; "" for the trained network.
        heatmap: raw, as the method returns it for one image: (h, w) or (C, H, W), on the CPU.
        ssim: structural similarity of both maps, at most 1.
        rank: Spearman's rank correlation of their values, from -1 to 1.
        absolute_rank: the same of their magnitudes.
    """

    layers: str
    heatmap: Tensor
    ssim: float
    rank: float
    absolute_rank: float


def groups(model: nn.Module, images: Tensor) -> dict[str, tuple[str, ...]]:
    """The modules with weights in groups, from the output down to the input, as they run.

    A group is named by the first parts of its modules' names, by as few as give at least FEWEST groups.

    Args:
        model: the network; it is not changed.
        images: (N, C, H, W), to see in which order modules run.

    Returns:
        Names of modules by the name of their group.

    Raises:
        ValueError: a model without weights.
    """
    net = structural_copy(model)
    ran: list[str] = []
    for name, module in net.named_modules():
        if any(parameter is not None for parameter in module._parameters.values()):
            module.register_forward_pre_hook(lambda module, args, name=name: ran.append(name))
    with torch.inference_mode():
        read_output(net, images[:1].clone())
    names = list(dict.fromkeys(reversed(ran)))  # each at its last run
    if not names:
        raise ValueError("this model has no weights that could be made random")
    for depth in range(1, 1 + max(name.count(".") + 1 for name in names)):
        found: dict[str, list[str]] = {}
        for name in names:
            found.setdefault(".".join(name.split(".")[:depth]), []).append(name)
        if len(found) >= FEWEST:
            break
    return {group: tuple(members) for group, members in found.items()}


def randomized(model: nn.Module, modules: Sequence[str], seed: int) -> nn.Module:
    """A copy of the network, with weights of its own, some of them random.

    Each weight is drawn from a normal distribution with the mean and the standard deviation of the trained tensor, so
    that activations keep their scale. Running means and variances stay. A seed gives the same weights in any order.

    Args:
        model: the network; it is not changed.
        modules: the names of the modules whose weights are drawn.
        seed: of the drawing.
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
    """The maps of one image while more and more of the network becomes random.

    All methods see the same random networks, and share one forward pass of each.

    Args:
        probe: network, images, target and layer; the target stays that of the trained network.
        functions: methods of attribution by name, which take a probe, their knobs bound; one that takes `progress`
            tells how far it is.
        independent: make one group of layers random at a time, the others stay trained; otherwise random weights
            cascade from the output down to the input.
        seed: of the weights.
        index: which of the probe's images.
        progress: called with the finished share, 0 to 1, after each network, and while a method tells how far it is;
            may raise to cancel.

    Returns:
        By name the trained network's own map, and one stage for each group of layers.

    Source:
        Adebayo et al. 2018 (1810.03292), the model parameter randomization test.
    """
    image, asked = probe.images[index : index + 1], probe.asked  # (1, C, H, W)
    target = asked[index : index + 1] if isinstance(asked, Tensor) else asked
    layer, size = _layer_of(probe), (image.shape[2], image.shape[3])

    parts = groups(probe.model, image)
    slow = [name for name, function in functions.items() if "progress" in inspect.signature(function).parameters]

    def mapped(model: nn.Module, done: int) -> dict[str, Tensor]:
        """The maps of one network, when so many networks are done."""

        def tell(share: float, before: int = 0) -> None:
            if progress:
                progress((done + (before + share) / max(1, len(slow))) / (1 + len(parts)))

        shared = Probe(model, image, target, layer)
        calls = {name: {"progress": partial(tell, before=number)} for number, name in enumerate(slow)}
        maps = {name: function(shared, **calls.get(name, {}))[0].detach().cpu() for name, function in functions.items()}
        tell(max(1, len(slow)))
        return maps

    trained = mapped(probe.model, 0)
    stages = {name: [Stage("", heatmap, 1.0, 1.0, 1.0)] for name, heatmap in trained.items()}
    gone: list[str] = []
    for done, (group, modules) in enumerate(parts.items(), start=1):
        gone = list(modules) if independent else [*gone, *modules]
        for name, heatmap in mapped(randomized(probe.model, gone, seed), done).items():
            stages[name].append(Stage(group, heatmap, *similarity(trained[name], heatmap, size)))
    return {name: tuple(several) for name, several in stages.items()}


def _layer_of(probe: Probe) -> str | None:
    try:
        return probe.layer
    except ValueError:  # no layer has feature maps: methods at the input need none
        return None


def similarity(one: Tensor, other: Tensor, size: tuple[int, int]) -> tuple[float, float, float]:
    """SSIM, rank correlation, and rank correlation of the magnitudes of two raw maps, at the pixels.

    SSIM is scikit-image's, with a uniform window of 7 x 7 pixels, K1 = .01 and K2 = .03, on maps divided by their
    largest magnitude, with a data range of 2. A map that is constant, and one that is not finite, has no ranks: its
    correlation is 0, unless both are the same.

    Args:
        one: (h, w) or (C, H, W).
        other: of the same shape.
        size: (H, W) pixels, at least 7 a side.
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
    """A map divided by its largest magnitude."""
    values: NDArray[np.float64] = heatmap.double().numpy()
    top = float(np.abs(values).max())
    return values / top if top > 0 else values


def spearman(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """The correlation of the ranks of two arrays, ties at their mean rank; 0 where one of them is constant."""
    from scipy.stats import rankdata

    first, second = (rankdata(values, axis=None) - (values.size + 1) / 2 for values in (one, other))
    length = float(np.sqrt((first**2).sum() * (second**2).sum()))
    return float((first * second).sum()) / length if length > 0 else 0.0
