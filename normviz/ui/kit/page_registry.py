"""The list of pages: the name, title and question of each, and the addresses that pages had before."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Page:
    """One page.

    Attributes:
        name: names its script in `pages/`, its module in `normviz/ui/pages/` and, with hyphens, its address.
        title: its topic, as shown in the navigation and above the page.
        question: what it answers, shown below the title and on the home page.
        heading: the title above the page, where it differs from the one in the navigation.
    """

    name: str
    title: str
    question: str = ""
    heading: str = ""

    @property
    def file(self) -> str:
        """Its script."""
        return f"pages/{self.name}.py"

    @property
    def address(self) -> str:
        """Its path in the browser's address; empty for the home page."""
        return "" if self.name == "home" else self.name.replace("_", "-")


PAGES: dict[str, tuple[Page, ...]] = {
    "": (Page("home", "Home", "Where does a network look, and what does normalization change?", "NormViz"),),
    "Photos": (
        Page("cam", "Class activation maps", "Which pixels made the network say “cat”?"),
        Page("compare_maps", "Compare maps", "How do maps differ between methods, classes, layers and networks?"),
        Page("class_model", "Class model", "What does the network's ideal cat look like?"),
        Page("style_transfer", "Style transfer", "What if we swap only means and standard deviations?"),
        Page("training", "Training", "Can you watch a network learn?"),
    ),
    "Is the map true?": (
        Page("faithfulness", "Faithfulness", "Does the score drop when the marked area is hidden?"),
        Page("sanity_check", "Sanity check", "Does the map change when the weights are random?"),
        Page("evidence", "Evidence", "How does the score add up?"),
        Page("localization", "Localization", "Do the maps point at the object?"),
        Page("photo_edit", "Photo edit", "Does the class disappear when its evidence is painted over?"),
        Page("clever_hans", "Clever Hans", "Is the network right for the wrong reason?"),
    ),
    "Normalization": (
        Page("normalize", "Normalize", "Which values share a mean and a variance?"),
        Page("compare_norms", "Compare norms", "What does each norm do to the same values?"),
        Page("composer", "Composer", "Pick the axes: which norm is it?"),
        Page("geometry", "Geometry", "Where do points land in 3-D?"),
        Page("invariance", "Invariance", "What can change without changing the output?"),
    ),
    "Beyond activations": (
        Page("data_scaling", "Data scaling", "What does scaling do to a table, or to a photo?"),
        Page("weights_and_blocks", "Weights and blocks", "What else can be normalized?"),
    ),
    "Reference": (
        Page("formula_sheet", "Formula sheet", "Exact formulas and common mistakes"),
        Page("errata", "Errata", "Which formulas are often printed wrong?"),
    ),
}

# Addresses of earlier versions: the server redirects them, with their parameters.
OLD_ADDRESSES = {
    "maps": "compare-maps",
    "model": "class-model",
    "adain": "style-transfer",
    "train": "training",
    "true": "faithfulness",
    "sanity": "sanity-check",
    "ledger": "evidence",
    "localize": "localization",
    "edit": "photo-edit",
    "hans": "clever-hans",
    "norm": "normalize",
    "compare": "compare-norms",
    "compose": "composer",
    "scaling": "data-scaling",
    "blocks": "weights-and-blocks",
    "formulas": "formula-sheet",
}


def page(name: str) -> Page:
    """The page of this name."""
    return next(page for pages in PAGES.values() for page in pages if page.name == name)
