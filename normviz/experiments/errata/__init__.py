"""Errata: formulas that are often printed wrong, compared with the right ones on the same data."""

# ruff: noqa: I001  (the order of the imports is the order of the list)

from normviz.experiments.errata.erratum import ERRATA, Erratum, Comparison, Outcome
from normviz.experiments.errata import activations, networks, attribution

__all__ = ["ERRATA", "Erratum", "Comparison", "Outcome", "activations", "attribution", "networks"]
