"""The engine: one forward pass through a private copy of a network, and what methods read from it."""
