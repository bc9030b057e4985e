"""Drawbacks: known weaknesses of attribution maps, each measured on the given photo."""

# ruff: noqa: I001  (the order of the imports is the order in which the drawbacks are listed)

from normviz.experiments.drawbacks.drawback import DRAWBACKS, Drawback, DrawbackResult, DrawbackInput, Tile
from normviz.experiments.drawbacks import gradients, score_cam, taylor

__all__ = ["Drawback", "DrawbackResult", "DrawbackInput", "Tile", "drawbacks", "gradients", "score_cam", "taylor"]


def drawbacks() -> dict[str, Drawback]:
    """All drawbacks by name, in the order of the page."""
    return dict(DRAWBACKS)
