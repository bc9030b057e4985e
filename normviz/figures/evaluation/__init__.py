"""Figures for the evaluation of attribution maps."""
