"""Targets: what a map can explain, as a scalar computed from the model's output."""

from normviz.attribution.targets.image_output import Difference, Region, Score, Similarity, embedding_of, logits_of
from normviz.attribution.targets.sequence_output import BoxScore, TokenLogProbability, strongest_box

__all__ = [
    "BoxScore", "Difference", "Region", "Score", "Similarity", "TokenLogProbability", "embedding_of", "logits_of",
    "strongest_box",
]  # fmt: skip
