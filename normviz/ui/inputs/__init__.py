"""Inputs: what a visitor chooses: a photo, a network, a method, a target, activations, a table."""
