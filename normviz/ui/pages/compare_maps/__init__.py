"""The page Compare maps: its inputs, its sheet of maps, its details and the known weaknesses."""
