"""The normalization methods, one module per family.

The order of the imports is the order of the lists on pages. The names to import are the `__all__` of each module.
"""

# ruff: noqa: F403, I001

from normviz.normalization.methods.batch import *
from normviz.normalization.methods.layer import *
from normviz.normalization.methods.channel import *
from normviz.normalization.methods.local import *
from normviz.normalization.methods.conditional import *
from normviz.normalization.methods.transformer import *
from normviz.normalization.methods.recurrent import *
from normviz.normalization.methods.scaling import *
from normviz.normalization.methods.weight import *
from normviz.normalization.methods.training import *
from normviz.normalization.methods.blocks import *
