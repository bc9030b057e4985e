"""Prints: contact sheets drawn with Pillow, without a browser."""
