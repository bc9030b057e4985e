"""Averages over many evaluations of an image, with progress, cancellation and previews."""

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
    """Compute a map from the mean of `count` evaluations of each image, `chunk` at a time.

    Args:
        images: number of images, N.
        count: number of evaluations per image.
        chunk: number of evaluations in memory at a time.
        part: given the index of an image and a range of evaluations, returns the sum (...) of these evaluations.
        draw: computes the map from the means (N, ...); means of images that have not started are 0.
        progress: called after each chunk with the finished fraction, 0 to 1; may raise to cancel.
        preview: called after each chunk with the map so far.

    Raises:
        ValueError: chunk or count below 1.
    """
    for name, value in (("chunk", chunk), ("the number of evaluations", count)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1; received {value}")
    means = torch.empty(0)
    done, steps = 0, images * -(-count // chunk)
    for index in range(images):
        total: Tensor | None = None
        for start in range(0, count, chunk):
            evaluations = range(start, min(start + chunk, count))
            partial = part(index, evaluations)  # (...)
            total = partial if total is None else total + partial
            if done == 0:
                means = partial.new_zeros(images, *partial.shape)  # (N, ...)
            means[index] = total / evaluations.stop
            done += 1
            if preview:
                preview(draw(means))
            if progress:
                progress(done / steps)
    return draw(means)


def noisy_samples(image: Tensor, sigma: float, seed: int, samples: range) -> Tensor:
    """An image with independent Gaussian noise per sample, reproducible on every device and in any order.

    Args:
        image: (C, H, W).
        sigma: standard deviation of the noise, as a fraction of the image's range (maximum minus minimum).
        seed: random seed.
        samples: indices of the samples.

    Returns:
        (b, C, H, W).
    """
    draws = [
        torch.randn(image.shape, generator=torch.Generator().manual_seed(seed + 1000 * sample)) for sample in samples
    ]
    noise = torch.stack(draws).to(image)  # (b, C, H, W)
    return image + sigma * (image.max() - image.min()) * noise  # (b, C, H, W)
