"""Slow float64 versions of every method, written from the papers with plain loops."""
