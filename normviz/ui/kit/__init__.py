"""The kit: caching, slow work, linked widgets, the page layout and the list of pages."""
