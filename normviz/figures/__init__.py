"""Plotly figures: pure functions that take arrays and return a small `Figure` for light and dark pages."""
