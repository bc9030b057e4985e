"""Figures of the evaluations of maps."""
