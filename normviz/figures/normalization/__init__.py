"""Figures of tensors before and after a normalization."""
