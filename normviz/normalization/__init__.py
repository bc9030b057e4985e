"""Normalization methods, in the order in which they are listed, and what they share."""

# ruff: noqa: I001  (the order of the imports is the order of registration)

from normviz.normalization.batch import batch_norm, running_statistics
from normviz.normalization.layer import layer_norm, rms_norm
from normviz.normalization.channel import divisors, group_norm, instance_norm
from normviz.normalization.apply import apply

__all__ = [
    "apply",
    "batch_norm",
    "divisors",
    "group_norm",
    "instance_norm",
    "layer_norm",
    "rms_norm",
    "running_statistics",
]
