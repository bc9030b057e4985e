"""Generated images of textured objects of eight classes, with exact masks."""

from normviz.scenes.clever_hans import HANS, clever_hans_scene, make_clever_hans_scenes
from normviz.scenes.scene import CLASSES, SIZE, Item, Scene, make_mosaic, make_scene, make_unknown
from normviz.scenes.sets import Scenes, make_scenes, make_unknowns

__all__ = [
    "CLASSES", "HANS", "SIZE", "Item", "Scene", "Scenes", "clever_hans_scene", "make_clever_hans_scenes", "make_mosaic",
    "make_scene", "make_scenes", "make_unknown", "make_unknowns",
]  # fmt: skip
