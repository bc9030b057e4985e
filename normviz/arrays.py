"""Read arrays of numbers from .npy and .npz files without executing code from them."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from normviz.activations import LARGEST

MAGIC, ZIP = b"\x93NUMPY", b"PK"


def read_array(data: bytes | Path, name: str = "the file") -> Tensor:
    """Read the array in a .npy file.

    Args:
        data: the bytes of the file, or its path.
        name: the name of the file in error messages.

    Returns:
        A tensor with the shape of the array, float64 for float64 arrays and float32 otherwise.

    Raises:
        ValueError: the file is not an array, contains objects, text or complex numbers, is too large, or is empty.
    """
    if isinstance(data, Path):
        name, data = str(data), data.read_bytes()
    wrong = f"{name} cannot be read as a NumPy array of numbers (.npy)"
    if not data.startswith(MAGIC):
        raise ValueError(f"{wrong}: it does not start with the .npy header; write it with numpy.save")
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, kind = read(stream)
    except ValueError as error:
        raise ValueError(f"{wrong}: {str(error).splitlines()[0]}") from None
    if kind.kind not in "biuf":
        held = "objects, which are not loaded because they could run code" if kind.hasobject else f"{kind}"
        raise ValueError(f"{name} must contain real numbers; it contains {held}: save it as float32")
    size = int(np.prod(shape, dtype=object))
    if not 1 <= size <= LARGEST:
        raise ValueError(f"{name} must contain 1 to {LARGEST:,} numbers; received shape {tuple(shape)} with {size:,}")
    if len(data) - stream.tell() < size * kind.itemsize:
        raise ValueError(f"{wrong}: it is shorter than its {size:,} numbers; copy it again")
    values = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    kept = np.float64 if values.dtype == np.float64 else np.float32
    return torch.from_numpy(np.array(values, dtype=kept, order="C"))


def read_arrays(data: bytes, name: str = "the file") -> dict[str, Tensor]:
    """Read the arrays in a .npz file by name, or the array in a .npy file.

    Raises:
        ValueError: the file is neither, or an array that `read_array` rejects.
    """
    if not data.startswith(ZIP):
        return {"": read_array(data, name)}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [info for info in archive.infolist() if info.filename.endswith(".npy")]
            for info in members:
                if info.file_size > 8 * LARGEST + 4096:
                    raise ValueError(
                        f"{info.filename} in {name} must contain at most {LARGEST:,} numbers; it is larger"
                    )
            stored = {info.filename.removesuffix(".npy"): archive.read(info) for info in members[:32]}
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"{name} cannot be read as a set of NumPy arrays (.npz): {error}") from None
    if not stored:
        raise ValueError(f"{name} must contain NumPy arrays (.npz); it contains none")
    return {key: read_array(content, f"{key} in {name}") for key, content in stored.items()}
