"""Statistics of groups, comparison of methods, and identification of composed methods."""
