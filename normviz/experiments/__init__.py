"""Experiments: pure functions that run a claim on seeded numbers and return what came out."""
