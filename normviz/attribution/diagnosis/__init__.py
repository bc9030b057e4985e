"""Diagnosis: why a map is blank, which layer to choose, and how the value of a cell is composed."""
