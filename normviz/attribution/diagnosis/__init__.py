"""Diagnosis: why a map is blank, which layer to choose, and how a cell's value is made."""
