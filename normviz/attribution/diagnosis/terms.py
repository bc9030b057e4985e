"""Decomposition of one cell of a map into channels: activation, gradient, weight and product of each."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from normviz.attribution.engine.probe import Probe
from normviz.registry import Attribution, Value


@dataclass(frozen=True)
class Term:
    """The contribution of one channel to a cell of a map.

    Attributes:
        channel: index k of the channel.
        activation: A, the activation in the cell.
        gradient: g, the derivative of the score with respect to A; None if no gradient flows to the layer.
        weight: the factor by which the method multiplies A.
        product: weight times A.
    """

    channel: int
    activation: float
    gradient: float | None
    weight: float
    product: float


@dataclass(frozen=True)
class Terms:
    """The decomposition of a cell of a map.

    Attributes:
        row: row of the cell, from 0.
        column: column of the cell, from 0.
        terms: the channels with the largest products by magnitude, in decreasing order.
        total: sum of the products of all channels, before the method's ReLU if it has one.
        others: sum of the products of the channels that are not in `terms`.
        channels: number of channels of the layer.
    """

    row: int
    column: int
    terms: tuple[Term, ...]
    total: float
    others: float
    channels: int

    def formula(self, most: int | None = None) -> str:
        """The sum in LaTeX, with at most `most` channels written out; None: all in `terms`."""
        named = self.terms[:most]
        parts = [rf"\underbrace{{{t.weight:.3g} \cdot {t.activation:.3g}}}_{{k = {t.channel}}}" for t in named]
        if rest := self.channels - len(named):
            others = self.total - sum(term.product for term in named)
            parts.append(rf"\underbrace{{({others:.3g})}}_{{{rest}\text{{ others}}}}")
        cell = rf"\text{{row {self.row}, column {self.column}}}"
        return rf"\Big(\sum_k w_k A_k\Big)_{{{cell}}} = {' + '.join(parts)} = {self.total:.3g}"


def terms(
    method: Attribution,
    probe: Probe,
    row: int,
    column: int,
    count: int = 5,
    index: int = 0,
    settings: Mapping[str, Value] | None = None,
) -> Terms:
    """Decompose a cell of a map into the contributions of its channels.

    Args:
        method: an attribution method whose map is a weighted sum of channels.
        probe: network, images, target and layer.
        row: row of the cell, from 0.
        column: column of the cell, from 0.
        count: number of channels to list.
        index: index of the image in the batch.
        settings: the method's options; those that affect the weights are used.

    Raises:
        ValueError: the map is not a weighted sum of channels, there is no such cell, or count is below 1.
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
        raise ValueError(f"count must be at least 1; received {count}")
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


def has_channel_weights(method: Attribution) -> bool:
    """Whether a map of this method is a weighted sum of the channels of its layer."""
    return method.weights is not None and method.level == "layer"


def channel_weights(method: Attribution, probe: Probe, settings: Mapping[str, Value] | None = None) -> Tensor:
    """The factors of the activations: (N, K, 1, 1) or (N, K, h, w).

    Raises:
        ValueError: the map is not a weighted sum of channels.
    """
    if method.weights is None or not has_channel_weights(method):
        raise ValueError(no_terms_reason(method))
    parameters = inspect.signature(method.weights).parameters
    weights: Tensor = method.weights(probe, **{k: v for k, v in (settings or {}).items() if k in parameters})
    return weights  # (N, K, 1, 1) or (N, K, h, w)


def no_terms_reason(method: Attribution) -> str:
    """The reason why a method's map cannot be decomposed into channels."""
    if method.level == "input":
        return (
            f"{method.title} is computed at the input, so its map is not a sum over channels of a layer; "
            "choose a method that reads a layer, such as Grad-CAM"
        )
    return (
        f"{method.title} does not assign a weight to each channel, so its map cannot be decomposed; "
        "choose another method, such as Grad-CAM"
    )


def _gradients(probe: Probe, index: int, row: int, column: int) -> Tensor | None:
    """The gradients (K,) in one cell, or None if none flow, as in a forward pass that disables them."""
    try:
        return probe.gradients[index, :, row, column]  # (K,)
    except ValueError:
        return None


def channel_maps(probe: Probe, channels: list[int], index: int = 0) -> Tensor:
    """The activations of the given channels as maps: (channels, h, w)."""
    return probe.activations[index, torch.tensor(channels, device=probe.activations.device)]  # (channels, h, w)
