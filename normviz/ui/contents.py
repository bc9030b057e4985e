"""The pages: where each is, what it is called, and the question that it answers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """One page.

    Attributes:
        file: its script.
        path: its path in the address; it differs from the file's name, or a link opened first would bypass the frame.
        title: its name.
        question: what it answers, for the list on the home page.
    """

    file: str
    path: str
    title: str
    question: str = ""


CONTENTS: dict[str, tuple[Entry, ...]] = {
    "": (Entry("pages/home.py", "", "Home"),),
    "Photos": (
        Entry(
            "pages/class_activation_maps.py", "cam", "Class activation maps", "Which pixels made the network say cat?"
        ),
        Entry("pages/compare_maps.py", "maps", "Compare maps", "What do method, class, layer and norm change?"),
        Entry("pages/class_model.py", "model", "Class model", "Which picture would the network call a cat the most?"),
        Entry("pages/style_transfer.py", "adain", "Style transfer", "What if only means and deviations move?"),
        Entry("pages/tiny_network.py", "train", "Train a network", "Can you watch a network learn?"),
    ),
    "Is it true?": (
        Entry("pages/faithfulness.py", "true", "Faithfulness", "Does the class fall without what the map marks?"),
        Entry("pages/sanity_check.py", "sanity", "Sanity check", "Does the map change when the weights are random?"),
        Entry("pages/evidence.py", "ledger", "Evidence ledger", "Which places add up to the network's score?"),
        Entry("pages/localisation.py", "localize", "Localisation", "Do the maps point at the object?"),
        Entry("pages/edit_photo.py", "edit", "Edit and verify", "Is the class gone when its evidence is gone?"),
        Entry("pages/clever_hans.py", "hans", "Clever Hans", "Is the network right for the right reason?"),
    ),
    "Normalization": (
        Entry("pages/normalize.py", "norm", "Normalize", "Which numbers share a mean and a variance?"),
        Entry("pages/compare_methods.py", "compare", "Compare", "What do all of them do to the same numbers?"),
        Entry("pages/composer.py", "compose", "Compose a norm", "Which one is it when you choose the axes yourself?"),
        Entry("pages/three_features.py", "geometry", "Geometry", "Where do three features go?"),
        Entry("pages/invariance_matrix.py", "invariance", "Invariances", "What changes without the output noticing?"),
    ),
    "Beyond activations": (
        Entry("pages/data_scaling.py", "scaling", "Data scaling", "What does scaling do to a table, or to a photo?"),
        Entry(
            "pages/weights_and_blocks.py", "blocks", "Weights and blocks",
            "What is normalized when it is not the activations?",
        ),
    ),
    "Look it up": (
        Entry("pages/formula_sheet.py", "formulas", "Formula sheet", "What is the exact formula, and its trap?"),
        Entry("pages/misprints.py", "errata", "Errata", "Which formulas are often printed wrong?"),
    ),
}  # fmt: skip
