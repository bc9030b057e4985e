"""Small random image classifiers in the Hub's format: configuration, preprocessor, safetensors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

CLASSES = {0: "tabby, tabby cat", 1: "crane", 2: "crane", 3: "coffee mug"}
SIDE = 64  # pixels of the input


def _resnet(tf: Any) -> tuple[Any, Any]:
    config = tf.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1], layer_type="basic", id2label=CLASSES
    )
    return config, tf.ConvNextImageProcessorPil(size={"shortest_edge": SIDE}, crop_pct=0.875)


def _convnextv2(tf: Any) -> tuple[Any, Any]:
    config = tf.ConvNextV2Config(hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1], image_size=SIDE, id2label=CLASSES)
    return config, tf.ConvNextImageProcessorPil(size={"shortest_edge": SIDE}, crop_pct=0.875, resample=3)


_SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
_PATCHES = {"image_size": SIDE, "patch_size": 16}


def _vit(tf: Any) -> tuple[Any, Any]:
    config = tf.ViTConfig(**_SMALL, **_PATCHES, id2label=CLASSES)
    return config, tf.ViTImageProcessorPil(size={"height": SIDE, "width": SIDE})


def _deit(tf: Any) -> tuple[Any, Any]:
    config = tf.DeiTConfig(**_SMALL, **_PATCHES, id2label=CLASSES)
    size, crop = {"height": 72, "width": 72}, {"height": SIDE, "width": SIDE}
    return config, tf.DeiTImageProcessorPil(size=size, crop_size=crop, resample=3)


def _dinov2(tf: Any) -> tuple[Any, Any]:
    config = tf.Dinov2WithRegistersConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, mlp_ratio=2, **_PATCHES, id2label=CLASSES
    )
    return config, _cropping(tf)


def _swin(tf: Any) -> tuple[Any, Any]:
    config = tf.SwinConfig(
        image_size=SIDE, patch_size=4, embed_dim=8, depths=[1, 1], num_heads=[1, 2], window_size=4, id2label=CLASSES
    )
    return config, tf.ViTImageProcessorPil(size={"height": SIDE, "width": SIDE}, resample=3)


def _mobilenet_v2(tf: Any) -> tuple[Any, Any]:
    config = tf.MobileNetV2Config(depth_multiplier=0.35, image_size=SIDE, finegrained_output=False, id2label=CLASSES)
    size, crop = {"shortest_edge": 72}, {"height": SIDE, "width": SIDE}
    return config, tf.MobileNetV2ImageProcessorPil(size=size, crop_size=crop)


def _cropping(tf: Any) -> Any:
    return tf.BitImageProcessorPil(size={"shortest_edge": 72}, crop_size={"height": SIDE, "width": SIDE})


def _bit(tf: Any) -> tuple[Any, Any]:
    config = tf.BitConfig(
        embedding_size=8, hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1], num_groups=4, id2label=CLASSES
    )
    return config, _cropping(tf)


def _regnet(tf: Any) -> tuple[Any, Any]:
    config = tf.RegNetConfig(
        embedding_size=8, hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1], groups_width=4, id2label=CLASSES
    )
    return config, tf.ConvNextImageProcessorPil(size={"shortest_edge": SIDE}, crop_pct=0.875)


def _efficientnet(tf: Any) -> tuple[Any, Any]:
    config = tf.EfficientNetConfig(
        width_coefficient=0.25, depth_coefficient=0.2, image_size=SIDE, hidden_dim=320, id2label=CLASSES
    )
    return config, tf.EfficientNetImageProcessorPil(size={"height": SIDE, "width": SIDE})


FAMILIES: dict[str, Callable[[Any], tuple[Any, Any]]] = {
    "resnet": _resnet,
    "convnextv2": _convnextv2,
    "vit": _vit,
    "deit": _deit,
    "dinov2_with_registers": _dinov2,
    "swin": _swin,
    "mobilenet_v2": _mobilenet_v2,
    "bit": _bit,
    "regnet": _regnet,
    "efficientnet": _efficientnet,
}


def write_checkpoint(folder: Path, family: str, seed: int = 0) -> Path:
    """Write a small random network with matching running statistics, and return its folder."""
    import transformers as tf

    tf.logging.disable_progress_bar()
    torch.manual_seed(seed)
    config, processor = FAMILIES[family](tf)
    model = getattr(tf, type(config).__name__.replace("Config", "ForImageClassification"))(config)
    for name, values in model.named_parameters():  # as trained: no two channels alike, no map that is all zero
        if values.ndim == 1 and name.endswith("weight"):
            torch.nn.init.normal_(values, 1.0, 0.2)
        elif values.ndim > 1:
            torch.nn.init.normal_(values, 0.0, (2 / values[0].numel()) ** 0.5)
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        model.train(bool(norms))(torch.randn(8, 3, SIDE, SIDE))
    model.eval().save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
