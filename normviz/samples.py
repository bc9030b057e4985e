"""Sample photos from the installed scikit-image package."""

from __future__ import annotations

from importlib.resources import files

SAMPLES: dict[str, str] = {
    "chelsea": "Chelsea the cat",
    "astronaut": "an astronaut",
    "coffee": "a cup of coffee",
    "rocket": "a rocket at launch",
    "hubble": "the Hubble deep field",
    "motorcycle": "a motorcycle in a garage",
    "camera": "a photographer (gray)",
    "retina": "a retina",
    "moon": "the surface of the moon (gray)",
}
_FILES = {
    "rocket": "rocket.jpg",
    "hubble": "hubble_deep_field.jpg",
    "motorcycle": "motorcycle_left.png",
    "retina": "retina.jpg",
}


def load_sample(name: str) -> bytes:
    """Read the file of a sample photo.

    Args:
        name: a key of SAMPLES.

    Returns:
        The bytes of a JPEG or PNG file.

    Raises:
        ValueError: an unknown name.
    """
    if name not in SAMPLES:
        raise ValueError(f"the sample must be one of {', '.join(SAMPLES)}; received {name!r}")
    return (files("skimage") / "data" / _FILES.get(name, f"{name}.png")).read_bytes()
