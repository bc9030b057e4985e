"""Evaluation: is a map true? Maps are held against the network itself, against baselines, and against masks."""
