"""The page of class activation maps: its pictures and its sections."""
