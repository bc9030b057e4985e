"""The page Class activation maps: its panels and the sections below them."""
