"""Attribution: which pixels made the network say this? Each method takes one `Probe` and returns a raw map.

Maps are in the method's unit and size: (N, h, w) at a layer, (N, H, W) or (N, C, H, W) at the input.
Nothing is rescaled or enlarged; that is left to who draws them.
"""

# ruff: noqa: F403, I001

from normviz.attribution.methods import *
from normviz.attribution.diagnosis.preflight import empty_reason as empty_reason
from normviz.attribution.engine.probe import Head as Head, Probe as Probe, layers as layers, probes as probes
from normviz.attribution.class_model import ClassModel as ClassModel, class_model as class_model
from normviz.attribution.targets import BoxScore as BoxScore, Difference as Difference, Region as Region
from normviz.attribution.targets import Score as Score, Similarity as Similarity
from normviz.attribution.targets import TokenLogProbability as TokenLogProbability
