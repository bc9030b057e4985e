"""Networks: the embedded classifier and the catalog."""
