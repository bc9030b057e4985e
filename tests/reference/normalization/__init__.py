"""The normalizations in float64, one statistic at a time, written from the papers; one module a family.

Each collects the values that share a statistic in a plain loop, takes their mean and their biased
variance by the definition, and normalizes them. Arguments and shapes are those of the methods.
"""

from tests.reference.normalization.batch import *  # noqa: F403
from tests.reference.normalization.blocks import *  # noqa: F403
from tests.reference.normalization.channel import *  # noqa: F403
from tests.reference.normalization.conditional import *  # noqa: F403
from tests.reference.normalization.layer import *  # noqa: F403
from tests.reference.normalization.local import *  # noqa: F403
from tests.reference.normalization.recurrent import *  # noqa: F403
from tests.reference.normalization.scaling import *  # noqa: F403
from tests.reference.normalization.training import *  # noqa: F403
from tests.reference.normalization.transformer import *  # noqa: F403
from tests.reference.normalization.weight import *  # noqa: F403
