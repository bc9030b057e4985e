"""A wrapper for networks with several inputs that fixes all inputs except the images."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class FixedInputs(nn.Module):
    """A network of images and other inputs (a question, the caption so far) as a network of images alone.

    With it, a probe can explain captioning and question-answering networks: the other inputs are the same for all
    images and are repeated along the batch.

    Args:
        model: called with the images and the other inputs as keyword arguments.
        images_as: name of the model's argument for the images (N, C, H, W).
        inputs: the other inputs by name; a tensor holds one sample, (1, ...); any other value is passed unchanged.

    Raises:
        ValueError: a tensor that does not hold exactly one sample.
    """

    def __init__(self, model: nn.Module, images_as: str = "pixel_values", **inputs: object) -> None:
        super().__init__()
        self.model = model
        self.images_as = images_as
        self.constants = {name: value for name, value in inputs.items() if not isinstance(value, Tensor)}
        self.repeated = tuple(name for name, value in inputs.items() if isinstance(value, Tensor))
        for name in self.repeated:
            value = inputs[name]
            assert isinstance(value, Tensor)  # as selected above
            if value.ndim < 1 or len(value) != 1:
                raise ValueError(
                    f"{name} must hold one sample, (1, ...), which is repeated for every image; "
                    f"received shape {tuple(value.shape)}"
                )
            self.register_buffer(f"input_{name}", value.detach().clone(), persistent=False)

    def forward(self, images: Tensor) -> object:
        """The network's output for images (N, C, H, W)."""
        samples = {name: getattr(self, f"input_{name}") for name in self.repeated}
        inputs = {name: value.expand(len(images), *value.shape[1:]) for name, value in samples.items()}
        return self.model(**{self.images_as: images}, **inputs, **self.constants)


def tokens(*ids: int) -> Tensor:
    """Token ids as one sample (1, T)."""
    return torch.tensor([ids])
