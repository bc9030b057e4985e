"""Arrays from files: numbers come through, everything else gets one sentence."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from normviz import arrays
from normviz.arrays import read_array, read_arrays
from tests.support.comparison import identical


def npy(array: NDArray[Any], **options: bool) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def npz(**stored: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.savez(file, **stored)  # type: ignore[arg-type]
    return file.getvalue()


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.float16, np.int64, np.uint8, np.bool_, ">f4"])
def test_numbers_of_every_kind_come_through(kind: Any, tmp_path: Path) -> None:
    values = np.array([[0, 1, 2], [1, 0, 1]]).astype(kind)
    x = read_array(npy(np.asfortranarray(values)))
    assert x.dtype == (torch.float64 if values.dtype == np.float64 else torch.float32)
    assert x.tolist() == values.astype(float).tolist()
    path = tmp_path / "x.npy"
    path.write_bytes(npy(values))
    assert identical(read_array(path), x)


def test_a_set_of_arrays_keeps_its_names() -> None:
    found = read_arrays(npz(first=np.ones((2, 3)), second=np.zeros(4, dtype=np.float32)))
    assert {name: tuple(x.shape) for name, x in found.items()} == {"first": (2, 3), "second": (4,)}
    assert list(read_arrays(npy(np.ones(3)))) == [""]


def _zip_of(name: str, content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, content)
    return file.getvalue()


REFUSED: list[tuple[Callable[[], bytes], str]] = [
    (lambda: b"", "does not start with the .npy header"),
    (lambda: b"a,b\n1,2\n", "does not start with the .npy header; write it with numpy.save"),
    (lambda: npy(np.ones(10))[:-8], "it is shorter than its 10 numbers"),
    (lambda: npy(np.ones(10))[:20], "cannot be read as a NumPy array"),
    (lambda: npy(np.array([{}, 1], dtype=object), allow_pickle=True), "objects, which are not loaded"),
    (lambda: npy(np.array(["a", "b"])), "must contain real numbers; it contains <U1"),
    (lambda: npy(np.ones(3, dtype=complex)), "it contains complex128"),
    (lambda: npy(np.ones((0, 3))), r"1 to 33,554,432 numbers; received shape \(0, 3\) with 0"),
    (lambda: npz(), "it contains none"),
    (lambda: npz(good=np.ones(3))[:-30], "cannot be read as a set of NumPy arrays"),
    (lambda: _zip_of("notes.txt", b"hello"), "it contains none"),
    (lambda: _zip_of("bad.npy", b"hello"), "bad in mine.npz cannot be read"),
]


@pytest.mark.parametrize(("make", "sentence"), REFUSED)
def test_what_is_no_array_of_numbers_is_refused_in_words(make: Callable[[], bytes], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as caught:
        read_arrays(make(), "mine.npz")
    assert "\n" not in str(caught.value)


def test_a_header_that_promises_too_much_is_refused_before_anything_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "LARGEST", 5)
    with pytest.raises(ValueError, match=r"must contain 1 to 5 numbers; received shape \(2, 3\) with 6"):
        read_arrays(npy(np.ones((2, 3))))
    monkeypatch.setattr(arrays, "LARGEST", -500)
    with pytest.raises(ValueError, match=r"x\.npy in the file must contain at most"):
        read_arrays(npz(x=np.ones(1)))
