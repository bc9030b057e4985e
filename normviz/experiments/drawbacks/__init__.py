"""Drawbacks: known weaknesses of attribution maps, each measured on the photo at hand."""

# ruff: noqa: I001  (the order of the imports is the order in which the drawbacks are listed)

from normviz.experiments.drawbacks.drawback import DRAWBACKS, Drawback, DrawbackResult, DrawbackInput, Tile
from normviz.experiments.drawbacks import gradients, score_cam, taylor

__all__ = ["Drawback", "DrawbackResult", "DrawbackInput", "Tile", "drawbacks", "gradients", "score_cam", "taylor"]


def drawbacks() -> dict[str, Drawback]:
    """Every drawback by its name, in the order in which they are listed."""
    return dict(DRAWBACKS)
