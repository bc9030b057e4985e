"""Networks: the embedded classifier and the catalogue."""
