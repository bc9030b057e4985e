"""HTML: tables and cards as strings, numbers in."""
