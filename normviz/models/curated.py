"""Recommended networks on the Hugging Face Hub, chosen for their different normalizations."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Recommended:
    """A network on the Hub.

    Attributes:
        id: owner/name.
        megabytes: approximate size of its float32 weights.
        teaches: what its normalization demonstrates, in one sentence.
    """

    id: str
    megabytes: int
    teaches: str


CURATED = (
    Recommended(
        "microsoft/resnet-18", 47,
        "Batch normalization with frozen statistics: at inference it is a fixed scale and shift per channel, so the "
        "other photos in the batch do not matter.",
    ),
    Recommended(
        "google/bit-50", 102,
        "Similar blocks with group normalization and standardized weights: every photo is normalized by its own "
        "statistics, in training and at inference.",
    ),
    Recommended(
        "google/mobilenet_v2_1.0_224", 14,
        "Batch normalization after depthwise convolutions, ReLU capped at 6, and no ReLU where blocks are added.",
    ),
    Recommended(
        "WinKawaks/vit-tiny-patch16-224", 23,
        "A small vision transformer: layer normalization of each token, before attention and before the MLP.",
    ),
    Recommended(
        "google/vit-base-patch16-224", 346,
        "The standard vision transformer: layer normalization of each token; its maps always have 14 x 14 cells.",
    ),
    Recommended(
        "microsoft/swin-tiny-patch4-window7-224", 113,
        "Layer normalization in a hierarchy of windows: transformer blocks, but the maps get coarser with depth.",
    ),
    Recommended(
        "facebook/convnextv2-tiny-1k-224", 115,
        "Convolutions with layer normalization over channels, and global response normalization, by which the "
        "channels of a photo compete.",
    ),
)  # fmt: skip
