"""The attribution methods, one module per family; each method takes one `Probe` and returns a raw map.

The order of the imports is the order of the lists on pages. The names to import are the `__all__` of each module.
"""

# ruff: noqa: F403, I001

from normviz.attribution.methods.backprop import *
from normviz.attribution.methods.gradient import *
from normviz.attribution.methods.contrast import *
from normviz.attribution.methods.curvature import *
from normviz.attribution.methods.fusion import *
from normviz.attribution.methods.smoothing import *
from normviz.attribution.methods.full_gradient import *
from normviz.attribution.methods.path import *
from normviz.attribution.methods.perturbation import *
from normviz.attribution.methods.ablation import *
from normviz.attribution.methods.occlusion import *
from normviz.attribution.methods.decomposition import *
