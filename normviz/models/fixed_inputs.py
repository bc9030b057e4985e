"""A network that needs more than images, with its other inputs held fixed: images in, its output out."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Bound(nn.Module):
    """A network of images and other inputs (a question, the caption so far) as a network of images alone.

    So a probe can explain what a captioner or an answerer says of a picture: the other inputs are the same for all
    images, and are repeated for as many as come.

    Args:
        model: called with the images and the inputs by name.
        images_as: the name under which the model takes the images (N, C, H, W).
        inputs: the other inputs by name; a tensor holds one example, (1, ...), anything else is passed as it is.

    Raises:
        ValueError: a tensor that holds several examples.
    """

    def __init__(self, model: nn.Module, images_as: str = "pixel_values", **inputs: object) -> None:
        super().__init__()
        self.model = model
        self.images_as = images_as
        self.others = {name: value for name, value in inputs.items() if not isinstance(value, Tensor)}
        self.repeated = tuple(name for name, value in inputs.items() if isinstance(value, Tensor))
        for name in self.repeated:
            value = inputs[name]
            assert isinstance(value, Tensor)  # as chosen above
            if value.ndim < 1 or len(value) != 1:
                raise ValueError(
                    f"{name} must hold one example, (1, ...), which is repeated for every image; "
                    f"received shape {tuple(value.shape)}"
                )
            self.register_buffer(f"input_{name}", value.detach().clone(), persistent=False)

    def forward(self, images: Tensor) -> object:
        """What the network returns for images (N, C, H, W)."""
        held = {name: getattr(self, f"input_{name}") for name in self.repeated}
        inputs = {name: value.expand(len(images), *value.shape[1:]) for name, value in held.items()}
        return self.model(**{self.images_as: images}, **inputs, **self.others)


def tokens(*ids: int) -> Tensor:
    """Token ids as one example (1, T)."""
    return torch.tensor([ids])
