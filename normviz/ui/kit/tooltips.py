"""Help texts for inputs that several pages share."""

METHOD = (
    "How the map is computed. Start with Grad-CAM: it weights each feature map by how strongly the class score depends "
    "on it. Slow methods run the network many times."
)
CLASS = "The map shows the evidence for this class, whether or not the network predicts it."
LAYER = (
    "The layer at which the map is computed. The list starts at the end of the network, where maps are coarse and "
    "closest to the prediction, and goes back toward the photo."
)
SIZED_LAYER = LAYER + " 384 × 8 × 8 means 384 feature maps of 8 × 8 cells each."
COLORS = (
    "From no evidence to the strongest. A map with evidence against the class always goes from blue (against) over "
    "white (none) to orange (for)."
)
OPACITY = "How much the map covers the photo: 0 shows only the photo, 1 only the map."
