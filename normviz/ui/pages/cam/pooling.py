"""The section that shows global average pooling as a computation, channel by channel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from normviz.attribution.diagnosis.pooling import Pooling, pooling
from normviz.html import pooling as figure
from normviz.ui.kit import cache, jobs
from normviz.ui.maps.map_request import MapRequest

MOST_FOR, MOST_AGAINST = 6, 3  # channels that are shown


@dataclass(frozen=True)
class Pooled:
    """A score taken apart into channels, and the maps of those that are shown: {channel: (h, w)}."""

    pooling: Pooling
    maps: dict[int, NDArray[np.float32]]


def section(request: MapRequest) -> None:
    """Draw the table of the channels that contribute most, the others' sum, the bias, and what all add up to."""
    result = cache.keep("pooling", request.key, lambda: jobs.compute(lambda: _take_apart(request)), request.photos)
    whole, amounts = result.pooling, result.pooling.contribution
    channels = [
        figure.Channel(k, values, float(whole.mean[k]), float(whole.weight[k]), float(amounts[k]))
        for k, values in result.maps.items()
    ]
    others = whole.total - sum(channel.contribution for channel in channels)
    lines = [figure.Line(f"the {len(amounts) - len(channels)} other channels", others)]
    lines.append(figure.Line("bias" if whole.pooled else "what the layers behind make of it", whole.rest))
    lines.append(figure.Line("the score" if request.like else "the logit", whole.score, strong=True))
    st.markdown(
        f"Each feature map of layer **{request.layer}** is averaged over its cells; the mean times its weight is what "
        f"the channel contributes to **{request.name}**."
    )
    st.html(figure.contributions(channels, lines, "cosine" if request.like else "logits"))
    st.caption(whole.describe())


def _take_apart(request: MapRequest) -> Pooled:
    probe = request.probe()
    whole = pooling(probe)
    order = whole.order.tolist()
    count = min(MOST_FOR + MOST_AGAINST, len(order))
    against = max(count - MOST_FOR, 0)
    shown = order[: count - against] + order[len(order) - against :]
    maps = {k: probe.activations[0, k].float().cpu().numpy() for k in shown}
    return Pooled(Pooling(whole.mean.cpu(), whole.weight.cpu(), whole.score, whole.pooled, whole.bias), maps)
