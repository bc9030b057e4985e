"""Errata of class activation maps, computed on a small fixed network."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from normviz.attribution import Probe, cam, grad_cam_pp, score_cam
from normviz.experiments.errata.erratum import Comparison, Outcome, erratum, seeded_normal

CLASSES = ("class 1", "class 2", "class 3", "class 4")
CHANNELS = tuple("123456")


def small_net() -> nn.Sequential:
    """Build a network in float64: a convolution of 6 channels, ReLU, global average pooling, 4 classes."""
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)
    ).double()  # fmt: skip
    for seed, parameter in enumerate(net.parameters()):
        parameter.data = seeded_normal(*parameter.shape, seed=20 + seed)  # shape of the parameter
    return net.eval().requires_grad_(False)


def probe(layer: str = "1", target: int | None = None) -> Probe:
    """Return a probe of the network and one image (1, 3, 8, 8); layer "0" is before the ReLU, "1" after it."""
    return Probe(small_net(), seeded_normal(1, 3, 8, 8, seed=30), target, layer)


@erratum(
    "cam-bias",
    title="CAM: the logit has a bias",
    printed=r"S_c = \sum_k w_k^c\,\frac{1}{hw}\sum_{ij} A_{kij} \wrong{{}+ 0}",
    right=r"S_c = \sum_k w_k^c\,\frac{1}{hw}\sum_{ij} A_{kij} \good{{}+ b_c}",
    why="The last layer adds a bias to the logit of each class that does not depend on the image. A CAM map "
    "explains only the part that comes from the image: its mean is the logit minus the bias. If the bias is "
    "left out, the map seems to explain the whole logit, and a class that wins only because of its bias seems "
    "to be supported by the image.",
    methods=("cam",),
)
def cam_bias() -> Outcome:
    """The logits computed from the maps only, and with the bias."""
    probes = [probe(target=c) for c in range(4)]
    printed = torch.stack([cam(p)[0].mean() for p in probes])  # (classes,)
    right = probes[0].logits[0]  # (classes,)
    facts = (
        Comparison("logit of class 1", float(printed[0]), float(right[0])),
        Comparison("largest absolute bias", None, float(probes[0].head.bias.abs().max())),
    )
    return Outcome("a random image in a small network", "logit", printed, right, facts, labels=CLASSES)


@erratum(
    "score-cam-mask",
    title="Score-CAM: which minimum?",
    printed=r"H_k = \frac{A_k - \wrong{\min A_l}}{\max A_k - \wrong{\min A_l}},\quad \wrong{l \ne k}",
    right=r"H_k = \frac{A_k - \good{\min A_k}}{\max A_k - \good{\min A_k}}",
    why="A mask must lie between 0, where the image is hidden, and 1, where it is fully visible. With the minimum "
    "of another channel, the lowest value of the mask can be any number. Below 0, the image is inverted; above "
    "0, nothing is hidden completely. The scores of the masked images are then no longer a valid weight for the "
    "channels.",
    methods=("score_cam",),
)
def score_cam_mask() -> Outcome:
    """The lowest value of each channel's mask."""
    net = probe("0")
    maps = net.activations[0]  # (K, h, w)
    least, most = maps.amin((1, 2)), maps.amax((1, 2))  # (K,), (K,)
    masks = [_masks(maps, low, most) for low in (least.roll(-1), least)]  # (K, h, w), (K, h, w)
    lows = [mask.amin((1, 2)) for mask in masks]  # (K,), (K,)
    facts = (
        Comparison("lowest value of all masks", *(float(low.min()) for low in lows)),
        Comparison("largest of the masks' lowest values", *(float(low.max()) for low in lows)),
        Comparison("maximum of the map", float(masked_map(net, masks[0]).max()), float(score_cam(net).max())),
    )
    return Outcome("the 6 channels of a small network's convolution", "lowest value of the mask",
                   lows[0], lows[1], facts, labels=CHANNELS, axis="channel")  # fmt: skip


def _masks(maps: Tensor, low: Tensor, high: Tensor) -> Tensor:
    low, high = low[:, None, None], high[:, None, None]  # (K, 1, 1), (K, 1, 1)
    return (maps - low) / (high - low)  # (K, h, w)


def masked_map(net: Probe, masks: Tensor) -> Tensor:
    """Compute Score-CAM (h, w) with the given masks (K, h, w), enlarged to the image size."""
    size = net.images.shape[2:]
    large = F.interpolate(masks[:, None], size=size, mode="bilinear", align_corners=False)  # (K, 1, H, W)
    scores: Tensor = small_net()(net.images * large)[:, net.target[0]]  # (K,)
    return (scores.softmax(0)[:, None, None] * net.activations[0]).sum(0).relu()  # (h, w)


def derivatives(net: Probe, exponential: bool) -> tuple[Tensor, Tensor]:
    """Compute the first and second derivative (K, h, w) of the class score, or of its exponential."""
    a = net.activations.clone().requires_grad_()  # (1, K, h, w)
    score = small_net()[2:](a.relu())[0, net.target[0]]  # ()
    (first,) = torch.autograd.grad(score.exp() if exponential else score, a, create_graph=True)  # (1, K, h, w)
    n = first.numel()
    (rows,) = torch.autograd.grad(
        first, a, torch.eye(n, dtype=a.dtype).view(n, *a.shape), is_grads_batched=True, materialize_grads=True
    )  # (n, 1, K, h, w), n = K h w: the Hessian
    second = rows.view(n, n).diagonal()  # (n,)
    return first.detach()[0], second.view_as(first)[0]


@erratum(
    "grad-cam-pp-logit",
    title="Grad-CAM++ on the logit itself",
    printed=r"\alpha_{kij} = \frac{\wrong{\partial^2 S_c / \partial A_{kij}^2}}"
    r"{2\,\wrong{\partial^2 S_c / \partial A_{kij}^2} + \dots}",
    right=r"\alpha_{kij} = \frac{\good{\partial^2 e^{S_c} / \partial A_{kij}^2}}"
    r"{2\,\good{\partial^2 e^{S_c} / \partial A_{kij}^2} + \dots}",
    why="After the layer there are only ReLUs and linear layers, so the logit is piecewise linear: its second and "
    "third derivatives are 0 and α is 0 divided by 0. The paper takes the exponential of the logit, whose "
    "derivatives are powers of the gradient multiplied by that exponential. Only then is the formula defined.",
    methods=("grad_cam_pp",),
)
def grad_cam_pp_logit() -> Outcome:
    """The second derivatives, summed over the cells of each channel."""
    net = probe("0")
    sums = [derivatives(net, exponential)[1].sum((1, 2)) for exponential in (False, True)]  # (K,), (K,)
    facts = (
        Comparison("sum of the second derivatives over all activations", *(float(s.sum()) for s in sums)),
        Comparison("maximum of the map", None, float(grad_cam_pp(net).max())),
    )
    return Outcome("a random image in a small network", "sum of the second derivatives",
                   sums[0], sums[1], facts, labels=CHANNELS, axis="channel")  # fmt: skip


@erratum(
    "grad-cam-pp-relu",
    title="Grad-CAM++ without its last ReLU",
    printed=r"M_{ij} = \wrong{\sum_k w_k A_{kij}}",
    right=r"M_{ij} = \good{\mathrm{ReLU}}\Big(\sum_k w_k A_{kij}\Big)",
    why="The weights here are never negative, but activations before a ReLU can be. Without the last ReLU the map "
    "has cells below 0. They are not evidence against the class, because the method uses only positive "
    "gradients. On a color scale from the minimum to the maximum, they make the other cells look brighter.",
    methods=("grad_cam_pp",),
)
def grad_cam_pp_relu() -> Outcome:
    """The cells of the map with and without the ReLU."""
    net = probe("0")
    g, a = net.gradients[0], net.activations[0]  # (K, h, w), (K, h, w)
    alpha = 1 / (2 + g * a.sum((1, 2), keepdim=True)).clamp_min(1e-6)  # (K, h, w), valid where g is above 0
    weights = (alpha * g.relu()).sum((1, 2), keepdim=True)  # (K, 1, 1)
    printed, right = (weights * a).sum(0), grad_cam_pp(net)[0]  # (h, w), (h, w)
    facts = (
        Comparison("minimum of the map", float(printed.min()), float(right.min())),
        Comparison("share of cells below 0", *(float((m < 0).double().mean()) for m in (printed, right))),
    )
    return Outcome("a random image in a small network, read before the ReLU: 64 cells", "value of a cell",
                   printed.flatten(), right.flatten(), facts)  # fmt: skip
