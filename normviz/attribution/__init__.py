"""Attribution methods: which parts of an image determine the score? Each takes a `Probe` and returns a raw map.

Maps keep the unit and resolution of their method: (N, h, w) at a layer, (N, H, W) or (N, C, H, W) at the input.
They are neither rescaled nor enlarged.
"""

# ruff: noqa: F403, I001

from normviz.attribution.methods import *
from normviz.attribution.diagnosis.preflight import empty_reason as empty_reason
from normviz.attribution.engine.probe import Head as Head, Probe as Probe, layers as layers, probes as probes
from normviz.attribution.class_model import ClassModel as ClassModel, class_model as class_model
from normviz.attribution.targets import BoxScore as BoxScore, Difference as Difference, Region as Region
from normviz.attribution.targets import Score as Score, Similarity as Similarity
from normviz.attribution.targets import TokenLogProbability as TokenLogProbability
