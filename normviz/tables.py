"""Tables of numbers from CSV files, and a photo as such a table; read with Python's own csv module, in memory only.

What cannot be read raises a ValueError with one sentence for the file's owner. What can be read in part is: columns
of text and rows with missing values are left out, and the table says so.
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
MOST_ROWS = 20_000  # of a larger file every second, third, ... row is used
MOST_COLUMNS = 32  # columns of numbers that are used
MOST_CELLS = 10**6  # of a file with very many columns fewer rows are used
SEPARATORS = (",", ";", "\t", "|")
MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?", "-", ".", "inf", "-inf", "infinity", "-infinity"})
_LOOKED_AT = 2**16  # bytes in which separator, encoding and binary content are looked for
_CONTROL = frozenset(range(32)) - frozenset(b"\t\n\r\f\v\x1a")
_ADVICE = "save the table as CSV (comma-separated text) and try again"


@dataclass(frozen=True)
class Table:
    """The columns of numbers of a table, and what was left out of it.

    Attributes:
        columns: their names, each once.
        values: (rows, columns) float64, all finite.
        text: names of columns that are left out because they hold text, or nothing.
        incomplete: how many rows are left out because a number is missing.
        every: 1 where all rows are used, k where only every k-th is.
        more: how many further columns of numbers are not used.
        decimal_comma: whether 1,5 was read as 1.5.
        named: whether the file's first row held the names.
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
        """The columns that hold one and the same number in all rows."""
        low, high = torch.aminmax(self.values, dim=0)  # (columns,), (columns,)
        return tuple(name for name, same in zip(self.columns, (low == high).tolist(), strict=True) if same)

    def remarks(self) -> list[str]:
        """What its owner should know, one sentence each."""
        rows, columns = self.values.shape
        said = [f"{rows:,} rows and {columns} {'column' if columns == 1 else 'columns'} of numbers are used."]
        if not self.named:
            said.append("The first row holds numbers, so the columns have no names.")
        if self.every > 1:
            said.append(f"The file is long: only one row in {self.every} is used.")
        if self.more:
            said.append(f"{self.more} further columns of numbers are not used.")
        if self.text:
            said.append(f"Left out because they hold text or nothing: {_listed(self.text)}.")
        if self.incomplete:
            are = "row is" if self.incomplete == 1 else "rows are"
            said.append(f"{self.incomplete:,} {are} left out because a number is missing.")
        if self.decimal_comma:
            said.append("Decimal commas are read: 1,5 is 1.5.")
        if self.constant:
            said.append(f"The same number in every row: {_listed(self.constant)}.")
        return said


def read_table(data: bytes, name: str = "the file") -> Table:
    """The columns of numbers in a CSV file; separators are commas, semicolons, tabs or vertical bars.

    Args:
        data: the file's content, at most LARGEST_FILE bytes.
        name: what to call it in a sentence.

    Returns:
        The table, with at least two rows and one column.

    Raises:
        ValueError: it is empty, too large, no text, not a table, has rows of different lengths, or too few numbers.
    """
    encoding = _encoding(data, name)
    try:
        separator = _separator(data[:_LOOKED_AT].decode(encoding, "replace"))
        return _read(data, name, encoding, separator)
    except csv.Error as error:
        raise ValueError(f"{name} cannot be read as a table ({error}); {_ADVICE}") from None


def split(rows: int, share: float, seed: int = 0) -> Tensor:
    """Which rows are for training, dealt out at random; at least two are.

    Args:
        rows: the number of rows, at least 2.
        share: the share of the rows for training, 0 to 1.
        seed: the seed of the dealing.

    Returns:
        A bool tensor (rows,), true for a training row.
    """
    chosen = torch.randperm(rows, generator=torch.Generator().manual_seed(seed))[: max(2, round(share * rows))]
    return torch.zeros(rows, dtype=torch.bool).index_fill(0, chosen, True)  # (rows,)


def photo_rows(image: Tensor, patch: int = 1) -> Tensor:
    """A photo as a table: a row for each square patch, a column for each color of each of its pixels.

    Args:
        image: (3, H, W); rows and columns at the edge that do not fill a patch are left out.
        patch: pixels along a side; 1 makes a row of each pixel, with the columns red, green and blue.

    Returns:
        (patches, 3 patch²), the three colors of a pixel side by side.

    Raises:
        ValueError: a patch that does not fit into the photo.
    """
    _, height, width = image.shape
    if not 1 <= patch <= min(height, width):
        raise ValueError(f"a patch needs 1 to {min(height, width)} pixels a side in this photo; received {patch}")
    whole = image[:, : height - height % patch, : width - width % patch]  # (3, H', W')
    return rearrange(whole, "c (h p) (w q) -> (h w) (p q c)", p=patch, q=patch)


def rows_photo(rows: Tensor, width: int, patch: int = 1) -> Tensor:
    """The photo (3, H, W) that `photo_rows` has cut into rows; `width` is the photo's, in pixels."""
    return rearrange(rows, "(h w) (p q c) -> c (h p) (w q)", w=width // patch, p=patch, q=patch)


def _encoding(data: bytes, name: str) -> str:
    """The encoding of a text file; what is no text is refused."""
    if not data:
        raise ValueError(f"{name} is empty; choose another one")
    if len(data) > LARGEST_FILE:
        raise ValueError(f"{name} has {len(data) / 2**20:.0f} MB, more than {LARGEST_FILE // 2**20}: keep fewer rows")
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    head = data[:_LOOKED_AT]
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
    """The separator that cuts the first lines into most columns, all alike."""
    lines = [line for line in head.splitlines() if line.strip()][:20]

    def score(separator: str) -> tuple[float, int]:
        counts = [len(cells) for cells in csv.reader(lines, delimiter=separator)]
        alike = sum(count == counts[0] for count in counts) / len(counts) if counts else 0.0
        return (alike, counts[0]) if counts and counts[0] > 1 else (0.0, 1)

    return max(SEPARATORS, key=score)


def _read(data: bytes, name: str, encoding: str, separator: str) -> Table:
    text = io.TextIOWrapper(io.BytesIO(data), encoding, "replace", newline="")
    reader = csv.reader(text, delimiter=separator, skipinitialspace=True)
    filled = (cells for cells in reader if any(cell.strip() for cell in cells))
    first = next(filled, None)
    if first is None:
        raise ValueError(f"{name} holds no cells; choose a table with a row of names and rows of numbers")
    named = not all(
        _number(cell, separator != ",") is not None for cell in first if cell.strip().lower() not in MISSING
    )
    lines = data.count(b"\n") + data.count(b"\r") * (b"\n" not in data) + 1
    every = math.ceil(lines / min(MOST_ROWS, max(2, MOST_CELLS // len(first))))

    def even() -> Iterator[list[str]]:
        """The rows, as long as each has as many cells as the first."""
        for cells in filled if named else itertools.chain([first], filled):
            if len(cells) != len(first):
                raise ValueError(
                    f"{name} needs rows of equal length; cells in line {reader.line_num}: {len(cells)}, in the first "
                    f"row: {len(first)}; check its separators and quotation marks"
                )
            yield cells

    rows = list(itertools.islice(even(), 0, None, every))
    if len(rows) < 2:
        raise ValueError(f"{name} needs at least two rows of numbers; it has {len(rows)}")
    names = _names(first if named else [""] * len(first))
    return _numbers(names, rows, name, separator != ",", every, named)


def _names(first: Sequence[str]) -> list[str]:
    """The columns' names, each once; a column without one is called by its number."""
    names: list[str] = []
    for number, cell in enumerate(first, start=1):
        name = " ".join(cell.split())[:60] or f"column {number}"
        names.append(name if name not in names else f"{name} ({number})")
    return names


def _numbers(
    names: Sequence[str], rows: Sequence[Sequence[str]], name: str, comma: bool, every: int, named: bool
) -> Table:
    """The columns that hold numbers, in the rows in which none is missing."""
    kept: dict[str, list[float]] = {}
    text: list[str] = []
    more = 0
    for title, cells in zip(names, zip(*rows, strict=True), strict=True):
        numbers = [_number(cell, comma) for cell in cells]
        words = [cell.strip() for cell, number in zip(cells, numbers, strict=True) if number is None]
        if words or all(math.isnan(number) for number in numbers if number is not None):
            few = 0 < len(words) < len(cells) / 2  # a slip in a column of numbers
            text.append(f"{title} (it holds {words[0][:20]!r})" if few else title)
        elif len(kept) == MOST_COLUMNS:
            more += 1
        else:
            kept[title] = [number for number in numbers if number is not None]
    if not kept:
        raise ValueError(f"{name} needs a column of numbers; all of its columns hold text or nothing: {_listed(text)}")
    values = torch.tensor(list(kept.values()), dtype=torch.float64).T  # (rows, columns)
    complete = ~values.isnan().any(1)  # (rows,)
    if int(complete.sum()) < 2:
        worst = max(kept, key=lambda title: sum(math.isnan(number) for number in kept[title]))
        raise ValueError(
            f"{name} needs two rows in which no number is missing; it has {int(complete.sum())}: fill the gaps, or "
            f"leave out the column {worst!r}, which has most of them"
        )
    commas = comma and any("," in cell for row in rows[:200] for cell in row if _number(cell, comma) is not None)
    return Table(
        tuple(kept), values[complete].contiguous(), tuple(text), int((~complete).sum()), every, more, commas, named
    )


def _number(cell: str, comma: bool) -> float | None:
    """The number in a cell: nan where it is missing, None where it is text; 1,5 only where no comma separates cells."""
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
    """Names in a row; of many only the first."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
