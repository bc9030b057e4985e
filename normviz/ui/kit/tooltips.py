"""Tooltips of widgets that several pages have."""

METHOD = (
    "How the map is made. Grad-CAM is a good one to begin with: it weighs each feature map by how strongly the class's "
    "score depends on it. What takes long asks the network many times."
)
CLASS = "The map shows what speaks for this class, whether or not the network chose it."
LAYER = (
    "Where in the network the map is read. The list begins at the end of the network, where maps are coarse and "
    "nearest to the answer, and goes back towards the photo."
)
SIZED_LAYER = LAYER + " 384 × 8 × 8 means 384 feature maps of 8 × 8 cells each."
COLORS = (
    "From no evidence to the most. A map that holds evidence against the class, too, always goes from blue (against) "
    "over white (none) to orange (for)."
)
OPACITY = "How much the map covers the photo: 0 is the photo alone, 1 the map alone."
