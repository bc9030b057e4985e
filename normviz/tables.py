"""Read tables of numbers from CSV files, and convert photos to tables and back.

A file that cannot be read raises a ValueError with a message for the user. Columns of text and rows with
missing values are omitted; `Table.remarks` lists them.
"""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor

LARGEST_FILE = 200 * 2**20  # bytes
MOST_ROWS = 20_000  # of longer files, only every second, third, ... row is used
MOST_COLUMNS = 32  # largest number of numeric columns
MOST_CELLS = 10**6  # of files with many columns, fewer rows are used
SEPARATORS = (",", ";", "\t", "|")
MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?", "-", ".", "inf", "-inf", "infinity", "-infinity"})
_PREFIX = 2**16  # bytes from which the separator, the encoding and binary content are detected
_CONTROL = frozenset(range(32)) - frozenset(b"\t\n\r\f\v\x1a")
_ADVICE = "save the table as CSV (comma-separated text) and try again"


@dataclass(frozen=True)
class Table:
    """The numeric columns of a table, and what was omitted.

    Attributes:
        columns: the unique names of the columns.
        values: (rows, columns), float64, all finite.
        text: the names of the omitted columns, which contain text or no values.
        incomplete: the number of omitted rows, in which a number is missing.
        every: k if only every k-th row is used, 1 for all rows.
        more: the number of numeric columns beyond MOST_COLUMNS, which are not used.
        decimal_comma: whether 1,5 was read as 1.5.
        named: whether the first row of the file contains the names.
    """

    columns: tuple[str, ...]
    values: Tensor
    text: tuple[str, ...] = ()
    incomplete: int = 0
    every: int = 1
    more: int = 0
    decimal_comma: bool = False
    named: bool = True

    @property
    def constant(self) -> tuple[str, ...]:
        """The names of the columns with the same number in all rows."""
        low, high = torch.aminmax(self.values, dim=0)  # (columns,), (columns,)
        return tuple(name for name, same in zip(self.columns, (low == high).tolist(), strict=True) if same)

    def remarks(self) -> list[str]:
        """Messages for the user about the table, one sentence each."""
        rows, columns = self.values.shape
        messages = [f"{rows:,} rows and {columns} {'column' if columns == 1 else 'columns'} of numbers are used."]
        if not self.named:
            messages.append("The first row contains numbers, so the columns have no names.")
        if self.every > 1:
            messages.append(f"The file is long: only one of {self.every} rows is used.")
        if self.more:
            messages.append(f"{self.more} further columns of numbers are not used.")
        if self.text:
            messages.append(f"Omitted columns of text or without values: {_listed(self.text)}.")
        if self.incomplete:
            are = "row is" if self.incomplete == 1 else "rows are"
            messages.append(f"{self.incomplete:,} {are} omitted because a number is missing.")
        if self.decimal_comma:
            messages.append("Decimal commas were found: 1,5 is read as 1.5.")
        if self.constant:
            messages.append(f"Constant columns: {_listed(self.constant)}.")
        return messages


def read_table(data: bytes, name: str = "the file") -> Table:
    """Read the numeric columns of a CSV file separated by commas, semicolons, tabs or vertical bars.

    Args:
        data: the content of the file, at most LARGEST_FILE bytes.
        name: the name of the file in error messages.

    Returns:
        The table, with at least two rows and one column.

    Raises:
        ValueError: the file is empty, too large, not text, or not a table of numbers with rows of equal length.
    """
    encoding = _encoding(data, name)
    try:
        separator = _separator(data[:_PREFIX].decode(encoding, "replace"))
        return _read(data, name, encoding, separator)
    except csv.Error as error:
        raise ValueError(f"{name} cannot be read as a table ({error}); {_ADVICE}") from None


def split(rows: int, share: float, seed: int = 0) -> Tensor:
    """Select random training rows, at least two.

    Args:
        rows: the number of rows, at least 2.
        share: the fraction of training rows, from 0 to 1.
        seed: the seed of the selection.

    Returns:
        A bool tensor (rows,), true for a training row.
    """
    selected = torch.randperm(rows, generator=torch.Generator().manual_seed(seed))[: max(2, round(share * rows))]
    return torch.zeros(rows, dtype=torch.bool).index_fill(0, selected, True)  # (rows,)


def photo_rows(image: Tensor, patch: int = 1) -> Tensor:
    """Convert a photo to a table with one row per square patch and one column per color of each pixel.

    Args:
        image: (3, H, W); incomplete patches at the edge are dropped.
        patch: the side length of a patch in pixels; 1 gives one row per pixel with columns red, green and blue.

    Returns:
        (patches, 3 patch²), with the three colors of a pixel in adjacent columns.

    Raises:
        ValueError: the patch is larger than the photo.
    """
    _, height, width = image.shape
    if not 1 <= patch <= min(height, width):
        raise ValueError(f"a patch needs 1 to {min(height, width)} pixels a side in this photo; received {patch}")
    whole = image[:, : height - height % patch, : width - width % patch]  # (3, H', W')
    return rearrange(whole, "c (h p) (w q) -> (h w) (p q c)", p=patch, q=patch)


def rows_photo(rows: Tensor, width: int, patch: int = 1) -> Tensor:
    """The inverse of `photo_rows`: a photo (3, H, W) of the given width in pixels."""
    return rearrange(rows, "(h w) (p q c) -> c (h p) (w q)", w=width // patch, p=patch, q=patch)


def _encoding(data: bytes, name: str) -> str:
    """Detect the encoding of a text file; raise ValueError for other files."""
    if not data:
        raise ValueError(f"{name} is empty; choose another one")
    if len(data) > LARGEST_FILE:
        raise ValueError(
            f"{name} has {len(data) / 2**20:.0f} MB, more than {LARGEST_FILE // 2**20} MB: keep fewer rows"
        )
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    head = data[:_PREFIX]
    if data.startswith(b"PK\x03\x04"):
        raise ValueError(f"{name} is an Excel workbook or an archive, not text; {_ADVICE}")
    if not _CONTROL.isdisjoint(head):
        raise ValueError(f"{name} is not a text file; {_ADVICE}")
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8-sig"


def _separator(head: str) -> str:
    """Detect the separator: the one with the most consistent number of columns, and then with the most columns."""
    lines = [line for line in head.splitlines() if line.strip()][:20]

    def score(separator: str) -> tuple[float, int]:
        counts = [len(cells) for cells in csv.reader(lines, delimiter=separator)]
        equal = sum(count == counts[0] for count in counts) / len(counts) if counts else 0.0
        return (equal, counts[0]) if counts and counts[0] > 1 else (0.0, 1)

    return max(SEPARATORS, key=score)


def _read(data: bytes, name: str, encoding: str, separator: str) -> Table:
    text = io.TextIOWrapper(io.BytesIO(data), encoding, "replace", newline="")
    reader = csv.reader(text, delimiter=separator, skipinitialspace=True)
    filled = (cells for cells in reader if any(cell.strip() for cell in cells))
    first = next(filled, None)
    if first is None:
        raise ValueError(f"{name} contains no cells; choose a table with a row of names and rows of numbers")
    named = not all(
        _number(cell, separator != ",") is not None for cell in first if cell.strip().lower() not in MISSING
    )
    lines = data.count(b"\n") + data.count(b"\r") * (b"\n" not in data) + 1
    every = math.ceil(lines / min(MOST_ROWS, max(2, MOST_CELLS // len(first))))

    def checked_rows() -> Iterator[list[str]]:
        """Yield the rows; raise ValueError if the number of cells differs from the first row."""
        for cells in filled if named else itertools.chain([first], filled):
            if len(cells) != len(first):
                raise ValueError(
                    f"{name} needs rows of equal length; cells in line {reader.line_num}: {len(cells)}, in the first "
                    f"row: {len(first)}; check its separators and quotation marks"
                )
            yield cells

    rows = list(itertools.islice(checked_rows(), 0, None, every))
    if len(rows) < 2:
        raise ValueError(f"{name} needs at least two rows of numbers; it has {len(rows)}")
    names = _names(first if named else [""] * len(first))
    return _numbers(names, rows, name, separator != ",", every, named)


def _names(first: Sequence[str]) -> list[str]:
    """Unique column names; a column without a name is called by its number."""
    names: list[str] = []
    for number, cell in enumerate(first, start=1):
        name = " ".join(cell.split())[:60] or f"column {number}"
        names.append(name if name not in names else f"{name} ({number})")
    return names


def _numbers(
    names: Sequence[str], rows: Sequence[Sequence[str]], name: str, comma: bool, every: int, named: bool
) -> Table:
    """The numeric columns, without rows in which a number is missing."""
    kept: dict[str, list[float]] = {}
    text: list[str] = []
    more = 0
    for title, cells in zip(names, zip(*rows, strict=True), strict=True):
        numbers = [_number(cell, comma) for cell in cells]
        words = [cell.strip() for cell, number in zip(cells, numbers, strict=True) if number is None]
        if words or all(math.isnan(number) for number in numbers if number is not None):
            few = 0 < len(words) < len(cells) / 2  # probably a typing error in a numeric column
            text.append(f"{title} (it contains {words[0][:20]!r})" if few else title)
        elif len(kept) == MOST_COLUMNS:
            more += 1
        else:
            kept[title] = [number for number in numbers if number is not None]
    if not kept:
        raise ValueError(f"{name} needs a column of numbers; all columns contain text or no values: {_listed(text)}")
    values = torch.tensor(list(kept.values()), dtype=torch.float64).T  # (rows, columns)
    complete = ~values.isnan().any(1)  # (rows,)
    if int(complete.sum()) < 2:
        worst = max(kept, key=lambda title: sum(math.isnan(number) for number in kept[title]))
        raise ValueError(
            f"{name} needs two rows without missing numbers; it has {int(complete.sum())}: add the missing numbers, "
            f"or remove the column {worst!r}, which has most of them"
        )
    commas = comma and any("," in cell for row in rows[:200] for cell in row if _number(cell, comma) is not None)
    return Table(
        tuple(kept), values[complete].contiguous(), tuple(text), int((~complete).sum()), every, more, commas, named
    )


def _number(cell: str, comma: bool) -> float | None:
    """The number in a cell: nan if it is missing, None for text. `comma` allows decimal commas, as in 1,5."""
    cell = cell.strip()
    if cell.lower() in MISSING:
        return math.nan
    if comma and cell.count(",") == 1 and "." not in cell:
        cell = cell.replace(",", ".")
    try:
        number = float(cell)
    except ValueError:
        return None
    return number if math.isfinite(number) else math.nan


def _listed(names: Sequence[str], most: int = 8) -> str:
    """A comma-separated list of at most `most` names."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
