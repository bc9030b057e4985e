"""Analysis: which values share a statistic, the statistics themselves, and comparisons of methods."""
