"""Inputs: pickers for a photo, a network, a method, a target, activations or a table."""
