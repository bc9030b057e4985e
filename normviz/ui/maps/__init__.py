"""Maps: requests for attribution maps of photos, and their cached computation."""
