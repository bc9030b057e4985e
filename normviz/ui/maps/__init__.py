"""Maps: a request for an attribution map of a photo, and its computation for the pages."""
