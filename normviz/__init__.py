"""See what normalization does inside a neural network, and why an image classifier decided as it did."""
