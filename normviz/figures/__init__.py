"""Figures: pure functions, numbers in, `plotly.graph_objects.Figure` out; theme neutral and small on the wire."""
