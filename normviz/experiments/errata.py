"""Formulas that are often printed wrong, each with the right one and what both give, in the order of their topics."""

# ruff: noqa: I001  (the order of the imports is the order of the list)

from normviz.experiments import errata_activations, errata_networks, errata_attribution
from normviz.experiments.erratum import ERRATA, Erratum, Fact, Outcome

__all__ = ["ERRATA", "Erratum", "Fact", "Outcome", "errata_activations", "errata_attribution", "errata_networks"]
