"""Methods that average many evaluations of an image: they report, may be stopped, and show what they have so far."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def averaged_map(
    images: int,
    count: int,
    chunk: int,
    part: Callable[[int, range], Tensor],
    draw: Callable[[Tensor], Tensor],
    progress: Callable[[float], None] | None,
    preview: Callable[[Tensor], None] | None,
) -> Tensor:
    """A map made of the mean of `count` evaluations of each image, `chunk` of them at a time.

    Args:
        images: the number of images, N.
        count: evaluations of each.
        chunk: evaluations that are held at a time.
        part: the sum (...) over some evaluations of one image, by its index and theirs.
        draw: makes the map from the means (N, ...); those of an image that was not begun are 0.
        progress: called with the finished share, 0 to 1, after each chunk; may raise to cancel.
        preview: called with the map so far after each chunk.

    Raises:
        ValueError: a chunk or a count below 1.
    """
    for name, value in (("chunk", chunk), ("the number of evaluations", count)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1; received {value}")
    means = torch.empty(0)
    done, steps = 0, images * -(-count // chunk)
    for index in range(images):
        total: Tensor | None = None
        for start in range(0, count, chunk):
            some = range(start, min(start + chunk, count))
            found = part(index, some)  # (...)
            total = found if total is None else total + found
            if done == 0:
                means = found.new_zeros(images, *found.shape)  # (N, ...)
            means[index] = total / some.stop
            done += 1
            if preview:
                preview(draw(means))
            if progress:
                progress(done / steps)
    return draw(means)


def noisy_samples(image: Tensor, sigma: float, seed: int, samples: range) -> Tensor:
    """A picture with noise of its own for each sample, the same on every device and in any order.

    Args:
        image: (C, H, W).
        sigma: standard deviation of the noise, as a share of the picture's range from its lowest to its highest value.
        seed: of the noise.
        samples: which samples.

    Returns:
        (b, C, H, W).
    """
    drawn = [torch.randn(image.shape, generator=torch.Generator().manual_seed(seed + 1000 * one)) for one in samples]
    noise = torch.stack(drawn).to(image)  # (b, C, H, W)
    return image + sigma * (image.max() - image.min()) * noise  # (b, C, H, W)
