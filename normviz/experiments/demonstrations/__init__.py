"""Demonstrations: seeded runs of the methods that act on weights, on training, or on a block of a network."""

from collections.abc import Mapping

# Importing a module registers its demonstrations.
from normviz.experiments.demonstrations import blocks, recurrence, stacks, training, weights
from normviz.experiments.demonstrations.demonstration import EXPERIMENTS, Demonstration, Experiment, demonstrates

__all__ = [
    "Demonstration", "Experiment", "blocks", "demonstrates", "experiments", "recurrence", "stacks", "training",
    "weights",
]  # fmt: skip


def experiments() -> Mapping[str, Experiment]:
    """All demonstrations, by the name of the method."""
    return EXPERIMENTS
