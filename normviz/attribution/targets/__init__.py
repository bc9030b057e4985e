"""Targets: scalar functions of a model's output that a map can explain."""

from normviz.attribution.targets.image_output import (
    Difference,
    Region,
    Score,
    Similarity,
    check_class,
    embedding_of,
    logits_of,
)
from normviz.attribution.targets.sequence_output import BoxScore, TokenLogProbability, strongest_box

__all__ = [
    "BoxScore", "Difference", "Region", "Score", "Similarity", "TokenLogProbability", "check_class", "embedding_of",
    "logits_of", "strongest_box",
]  # fmt: skip
