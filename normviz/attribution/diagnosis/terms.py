"""The channels behind one cell of a map: activation, gradient, weight and product of each, and their sum."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from normviz.attribution.engine.probe import Probe
from normviz.registry import Method, Value


@dataclass(frozen=True)
class Term:
    """What one channel adds to a cell of a map.

    Attributes:
        channel: its index k.
        activation: A, the channel's value in the cell.
        gradient: g, the derivative of the score by that value; None where no gradient flows to the layer.
        weight: what the method multiplies A with.
        product: weight times A.
    """

    channel: int
    activation: float
    gradient: float | None
    weight: float
    product: float


@dataclass(frozen=True)
class Terms:
    """A cell of a map taken apart.

    Attributes:
        row: of the cell.
        column: of the cell.
        terms: the channels whose products are largest in magnitude, the largest first.
        total: the sum of the products of all channels; where the method ends in a ReLU, the map shows its positive
            part.
        others: the sum of the products of all channels that are not in `terms`.
        channels: how many channels the layer has.
    """

    row: int
    column: int
    terms: tuple[Term, ...]
    total: float
    others: float
    channels: int

    def formula(self, most: int | None = None) -> str:
        """The sum with its numbers, in LaTeX; `most` named channels at most, all if None."""
        named = self.terms[:most]
        parts = [rf"\underbrace{{{t.weight:.3g} \cdot {t.activation:.3g}}}_{{k = {t.channel}}}" for t in named]
        if rest := self.channels - len(named):
            others = self.total - sum(term.product for term in named)
            parts.append(rf"\underbrace{{({others:.3g})}}_{{{rest}\text{{ others}}}}")
        place = rf"\text{{row {self.row + 1}, column {self.column + 1}}}"
        return rf"\Big(\sum_k w_k A_k\Big)_{{{place}}} = {' + '.join(parts)} = {self.total:.3g}"


def terms(
    method: Method,
    probe: Probe,
    row: int,
    column: int,
    count: int = 5,
    index: int = 0,
    settings: Mapping[str, Value] | None = None,
) -> Terms:
    """Take a cell of a map apart into its channels.

    Args:
        method: an attribution whose map is a weighted sum of the layer's channels.
        probe: network, images, target and layer.
        row: of the cell, from 0.
        column: of the cell, from 0.
        count: how many channels to name.
        index: which image of the batch.
        settings: the method's knobs, of which the weights read those that they know.

    Raises:
        ValueError: the method is no weighted sum of channels, there is no such cell, or count is below 1.
    """
    if not has_channel_weights(method):
        raise ValueError(no_terms_reason(method))
    activations = probe.activations[index]  # (K, h, w)
    channels, rows, columns = activations.shape
    if not (0 <= row < rows and 0 <= column < columns):
        raise ValueError(
            f"the cell must be a row from 0 to {rows - 1} and a column from 0 to {columns - 1}; "
            f"received row {row}, column {column}"
        )
    if count < 1:
        raise ValueError(f"at least 1 channel must be named; received {count}")
    values = activations[:, row, column].double()  # (K,)
    weights = channel_weights(method, probe, settings)[index].expand_as(activations)[:, row, column].double()  # (K,)
    products = weights * values  # (K,)
    gradients = _gradients(probe, index, row, column)
    total = float(products.sum())
    best = products.abs().sort(descending=True, stable=True).indices[:count].tolist()
    named = tuple(
        Term(k, float(values[k]), None if gradients is None else float(gradients[k]), float(weights[k]),
             float(products[k]))
        for k in best
    )  # fmt: skip
    return Terms(row, column, named, total, total - sum(term.product for term in named), channels)


def has_channel_weights(method: Method) -> bool:
    """Whether a map of this method is a weighted sum of the channels of its layer."""
    return method.weights is not None and method.level == "layer"


def channel_weights(method: Method, probe: Probe, settings: Mapping[str, Value] | None = None) -> Tensor:
    """What the method multiplies the activations with: (N, K, 1, 1) or (N, K, h, w).

    Raises:
        ValueError: the method is no weighted sum of channels.
    """
    if method.weights is None or not has_channel_weights(method):
        raise ValueError(no_terms_reason(method))
    known = inspect.signature(method.weights).parameters
    weights: Tensor = method.weights(probe, **{k: v for k, v in (settings or {}).items() if k in known})
    return weights  # (N, K, 1, 1) or (N, K, h, w)


def no_terms_reason(method: Method) -> str:
    """Why a method's map cannot be taken apart into channels, in a sentence."""
    if method.level == "input":
        return (
            f"{method.title} is read at the input, not at a layer: its map is no sum over channels that could be "
            "taken apart; choose a map of a layer"
        )
    return (
        f"{method.title} does not weigh each channel with a number of its own that could be shown here: "
        "its map is made another way; choose Grad-CAM, say"
    )


def _gradients(probe: Probe, index: int, row: int, column: int) -> Tensor | None:
    """The gradients (K,) in one cell, or None where none flow, as with a forward that switches them off."""
    try:
        return probe.gradients[index, :, row, column]  # (K,)
    except ValueError:
        return None


def channel_maps(probe: Probe, channels: list[int], index: int = 0) -> Tensor:
    """The activations of some channels as maps: (channels, h, w)."""
    return probe.activations[index, torch.tensor(channels, device=probe.activations.device)]  # (channels, h, w)
