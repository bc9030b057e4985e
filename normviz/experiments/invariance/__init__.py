"""Invariance: which changes of input or weights leave a method's output unchanged."""
