"""Faithfulness: whether the score changes when the pixels that a map marks are removed or restored."""
