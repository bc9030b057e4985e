"""Evaluation of attribution maps: faithfulness, localization, sanity checks, and agreement between networks."""
