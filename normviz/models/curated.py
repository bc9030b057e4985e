"""Networks of the Hugging Face Hub that are worth comparing for what they are normalized with."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Recommended:
    """A network of the Hub.

    Attributes:
        id: owner/name.
        megabytes: about what its weights weigh: four bytes for each.
        teaches: what its normalization shows.
    """

    id: str
    megabytes: int
    teaches: str


CURATED = (
    Recommended(
        "microsoft/resnet-18", 47,
        "Batch normalization, frozen: in use it is a fixed scale and shift per channel, so a photo's neighbors in the "
        "batch change nothing.",
    ),
    Recommended(
        "google/bit-50", 102,
        "The same blocks with group normalization and standardized weights: every photo is normalized by its own "
        "statistics, in use as in training.",
    ),
    Recommended(
        "google/mobilenet_v2_1.0_224", 14,
        "Batch normalization round depthwise convolutions, ReLU capped at 6, and no ReLU where blocks are added.",
    ),
    Recommended(
        "WinKawaks/vit-tiny-patch16-224", 23,
        "A small vision transformer: layer normalization of each token by itself, before attention and before the MLP.",
    ),
    Recommended(
        "google/vit-base-patch16-224", 346,
        "The usual vision transformer: layer normalization of each token; its maps have 14 x 14 cells at every depth.",
    ),
    Recommended(
        "microsoft/swin-tiny-patch4-window7-224", 113,
        "Layer normalization in a pyramid of windows: transformer blocks, but maps that get coarser with depth.",
    ),
    Recommended(
        "facebook/convnextv2-tiny-1k-224", 115,
        "Convolutions with layer normalization over channels, and global response normalization, which makes the "
        "channels of one photo compete.",
    ),
)  # fmt: skip
