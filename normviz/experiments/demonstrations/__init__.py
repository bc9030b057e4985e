"""Demonstrations: seeded runs of the methods that act on weights, in training or on a block of a network."""

from collections.abc import Mapping

# Importing a module records its demonstrations.
from normviz.experiments.demonstrations import blocks, recurrence, stacks, training, weights
from normviz.experiments.demonstrations.demonstration import EXPERIMENTS, Demonstration, Experiment, demonstrates

__all__ = [
    "Demonstration", "Experiment", "blocks", "demonstrates", "experiments", "recurrence", "stacks", "training",
    "weights",
]  # fmt: skip


def experiments() -> Mapping[str, Experiment]:
    """Every demonstration, by the name of its method."""
    return EXPERIMENTS
