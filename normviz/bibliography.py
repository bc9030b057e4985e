"""The papers that methods come from: what `cite` in a registration points to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """One publication."""

    authors: str
    year: int
    title: str
    url: str

    def text(self) -> str:
        """The publication in one line."""
        return f"{self.authors} {self.year}, {self.title}"


def _arxiv(number: str) -> str:
    return f"https://arxiv.org/abs/{number}"


BIBLIOGRAPHY: dict[str, Source] = {
    "ioffe2015batch": Source(
        "Ioffe & Szegedy", 2015, "Batch Normalization: Accelerating Deep Network Training", _arxiv("1502.03167")
    ),
    "ba2016layer": Source("Ba, Kiros & Hinton", 2016, "Layer Normalization", _arxiv("1607.06450")),
    "ulyanov2016instance": Source(
        "Ulyanov, Vedaldi & Lempitsky", 2016, "Instance Normalization: The Missing Ingredient", _arxiv("1607.08022")
    ),
    "wu2018group": Source("Wu & He", 2018, "Group Normalization", _arxiv("1803.08494")),
    "zhang2019rms": Source("Zhang & Sennrich", 2019, "Root Mean Square Layer Normalization", _arxiv("1910.07467")),
    "simonyan2013deep": Source(
        "Simonyan, Vedaldi & Zisserman", 2013, "Deep Inside Convolutional Networks", _arxiv("1312.6034")
    ),
    "zeiler2014visualizing": Source(
        "Zeiler & Fergus", 2014, "Visualizing and Understanding Convolutional Networks", _arxiv("1311.2901")
    ),
    "springenberg2015striving": Source(
        "Springenberg et al.", 2015, "Striving for Simplicity: The All Convolutional Net", _arxiv("1412.6806")
    ),
    "zhou2016learning": Source(
        "Zhou et al.", 2016, "Learning Deep Features for Discriminative Localization", _arxiv("1512.04150")
    ),
    "selvaraju2017grad": Source(
        "Selvaraju et al.", 2017, "Grad-CAM: Visual Explanations from Deep Networks", _arxiv("1610.02391")
    ),
    "chattopadhay2018grad": Source(
        "Chattopadhay et al.", 2018, "Grad-CAM++: Improved Visual Explanations", _arxiv("1710.11063")
    ),
    "wang2020score": Source("Wang et al.", 2020, "Score-CAM: Score-Weighted Visual Explanations", _arxiv("1910.01279")),
    "jiang2021layercam": Source(
        "Jiang et al.",
        2021,
        "LayerCAM: Exploring Hierarchical Class Activation Maps",
        "https://doi.org/10.1109/TIP.2021.3089943",
    ),
}
