"""The page that compares maps: its inputs, its sheet of maps, and its details."""
