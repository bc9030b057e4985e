"""Arrays of numbers from files: .npy and .npz, read without running anything that is in them."""

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
    """The numbers in a .npy file.

    Args:
        data: the file's bytes, or where it is.
        name: what to call it in a sentence.

    Returns:
        A tensor of the array's shape, float32, or float64 where the array is; complex numbers are refused.

    Raises:
        ValueError: it is no such file, holds objects or text, is too large, or is empty.
    """
    if isinstance(data, Path):
        name, data = str(data), data.read_bytes()
    wrong = f"{name} cannot be read as a NumPy array of numbers (.npy)"
    if not data.startswith(MAGIC):
        raise ValueError(f"{wrong}: it does not begin as such a file does; write it with numpy.save")
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, kind = read(stream)
    except ValueError as error:
        raise ValueError(f"{wrong}: {str(error).splitlines()[0]}") from None
    if kind.kind not in "biuf":
        held = "objects, which are not loaded because loading could run code" if kind.hasobject else f"{kind}"
        raise ValueError(f"{name} must hold real numbers; it holds {held}: save it as float32")
    size = int(np.prod(shape, dtype=object))
    if not 1 <= size <= LARGEST:
        raise ValueError(f"{name} must hold 1 to {LARGEST:,} numbers; received shape {tuple(shape)} with {size:,}")
    if len(data) - stream.tell() < size * kind.itemsize:
        raise ValueError(f"{wrong}: it ends before its {size:,} numbers do; copy it again")
    values = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    kept = np.float64 if values.dtype == np.float64 else np.float32
    return torch.from_numpy(np.array(values, dtype=kept, order="C"))


def read_arrays(data: bytes, name: str = "the file") -> dict[str, Tensor]:
    """The arrays in a .npz file by their names, or the one in a .npy file.

    Raises:
        ValueError: it is neither, or what `read_array` refuses.
    """
    if not data.startswith(ZIP):
        return {"": read_array(data, name)}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [info for info in archive.infolist() if info.filename.endswith(".npy")]
            for info in members:
                if info.file_size > 8 * LARGEST + 4096:
                    raise ValueError(f"{info.filename} in {name} must hold at most {LARGEST:,} numbers; it is larger")
            stored = {info.filename.removesuffix(".npy"): archive.read(info) for info in members[:32]}
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"{name} cannot be read as a set of NumPy arrays (.npz): {error}") from None
    if not stored:
        raise ValueError(f"{name} must hold NumPy arrays (.npz); none is in it")
    return {key: read_array(content, f"{key} in {name}") for key, content in stored.items()}
