"""Errata: formulas that are often printed wrong, each beside the right one, with what both give."""

# ruff: noqa: I001  (the order of the imports is the order of the list)

from normviz.experiments.errata.erratum import ERRATA, Erratum, Comparison, Outcome
from normviz.experiments.errata import activations, networks, attribution

__all__ = ["ERRATA", "Erratum", "Comparison", "Outcome", "activations", "attribution", "networks"]
