"""Figures for the experiments."""
