"""The normalization methods by family, in the order in which they are listed."""

# ruff: noqa: I001  (the order of the imports is the order of registration)

from normviz.normalization.methods.batch import (
    batch_group_norm,
    batch_norm,
    ghost_batch_norm,
    identity_parameters,
    inference_example_weighing,
    running_statistics,
)
from normviz.normalization.methods.layer import l2_norm, layer_norm, lp_norm, rms_norm
from normviz.normalization.methods.channel import (
    divisors,
    filter_response_norm,
    global_response_norm,
    group_norm,
    instance_norm,
    switchable_norm,
)
from normviz.normalization.methods.local import divisive_norm, local_contrast_norm, local_response_norm
from normviz.normalization.methods.conditional import ada_layer_norm, adaptive_instance_norm, spade
from normviz.normalization.methods.transformer import dynamic_tanh, fix_norm, ngpt_step, qk_norm, scale_norm, unit_rows
from normviz.normalization.methods.recurrent import (
    batch_norm_lstm,
    batch_norm_lstm_cell,
    batch_norm_rnn,
    recurrent_batch_norm,
)
from normviz.normalization.methods.scaling import (
    max_abs_scaling,
    min_max_scaling,
    robust_scaling,
    unit_length,
    z_score,
    zca_whitening,
)
from normviz.normalization.methods.weight import (
    scaled_weight_standardization,
    spectral_norm,
    weight_norm,
    weight_standardization,
)
from normviz.normalization.methods.training import adaptive_gradient_clipping, affine_decay, grad_norm
from normviz.normalization.methods.blocks import (
    ada_layer_norm_zero,
    deep_norm,
    norm_placement,
    normalizer_free_block,
    post_norm,
    pre_norm,
    sandwich_norm,
)

__all__ = [
    "ada_layer_norm",
    "ada_layer_norm_zero",
    "adaptive_gradient_clipping",
    "adaptive_instance_norm",
    "affine_decay",
    "batch_group_norm",
    "batch_norm",
    "batch_norm_lstm",
    "batch_norm_lstm_cell",
    "batch_norm_rnn",
    "deep_norm",
    "divisive_norm",
    "divisors",
    "dynamic_tanh",
    "filter_response_norm",
    "fix_norm",
    "ghost_batch_norm",
    "global_response_norm",
    "grad_norm",
    "group_norm",
    "identity_parameters",
    "inference_example_weighing",
    "instance_norm",
    "l2_norm",
    "layer_norm",
    "local_contrast_norm",
    "local_response_norm",
    "lp_norm",
    "max_abs_scaling",
    "min_max_scaling",
    "ngpt_step",
    "norm_placement",
    "normalizer_free_block",
    "post_norm",
    "pre_norm",
    "qk_norm",
    "recurrent_batch_norm",
    "rms_norm",
    "robust_scaling",
    "running_statistics",
    "sandwich_norm",
    "scale_norm",
    "scaled_weight_standardization",
    "spade",
    "spectral_norm",
    "switchable_norm",
    "unit_length",
    "unit_rows",
    "weight_norm",
    "weight_standardization",
    "z_score",
    "zca_whitening",
]
