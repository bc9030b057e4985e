"""Normalization methods, and `apply`, which runs any of them on a tensor of activations."""

# ruff: noqa: F403, I001

from normviz.normalization.methods import *
from normviz.normalization.apply import apply as apply
