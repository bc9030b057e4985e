"""Localization: do maps point at the object? Measured on scenes with known masks."""
