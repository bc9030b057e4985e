"""Tables from files: what is read, what is left out and said, and what is refused in one sentence."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from normviz import tables
from normviz.tables import Table, photo_rows, read_table, rows_photo, split
from tests.support.cases import random
from tests.support.comparison import identical


def _rows(table: Table) -> list[list[float]]:
    rows: list[list[float]] = table.values.tolist()
    return rows


# --- what is read -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_separators_and_ends_of_lines(separator: str, end: str) -> None:
    lines = [["a", "b", "c"], ["1", "2.5", "-3e2"], ["4", "5", "6"]]
    table = read_table(end.join(separator.join(line) for line in lines).encode())
    assert table.columns == ("a", "b", "c")
    assert _rows(table) == [[1, 2.5, -300], [4, 5, 6]]
    assert table.values.dtype == torch.float64 and table.named and not table.decimal_comma


@pytest.mark.parametrize(
    "data",
    [
        "größe;b\n1;2\n3;4\n".encode(),
        "\ufeffgröße;b\n1;2\n3;4\n".encode(),
        "größe;b\n1;2\n3;4\n".encode("utf-16"),
        "größe;b\n1;2\n3;4\n".encode("cp1252"),
    ],
)
def test_encodings(data: bytes) -> None:
    table = read_table(data)
    assert table.columns == ("größe", "b") and _rows(table) == [[1, 2], [3, 4]]


def test_quotation_marks_spaces_and_blank_lines() -> None:
    table = read_table(b'\n"a, with comma", b \n"1", 2\n\n  ,  \n 3 ,"4"\n')
    assert table.columns == ("a, with comma", "b") and _rows(table) == [[1, 2], [3, 4]]


def test_one_column() -> None:
    assert _rows(read_table(b"height\n1\n2\n3\n")) == [[1], [2], [3]]


def test_decimal_commas_are_read_where_no_comma_separates() -> None:
    table = read_table(b"a;b\n1,5;2\n-0,25;3,5e1\n")
    assert _rows(table) == [[1.5, 2], [-0.25, 35]]
    assert table.decimal_comma and "1,5 is read as 1.5" in " ".join(table.remarks())
    assert read_table(b"a;b\n1.234,5;1\n2.345,5;2\n").columns == ("b",)  # neither a number here nor there


def test_a_table_without_names_gets_numbers() -> None:
    table = read_table(b"1,2\n3,4\n5,6\n")
    assert table.columns == ("column 1", "column 2") and len(table.values) == 3
    assert "no names" in " ".join(table.remarks())


def test_names_are_made_unique() -> None:
    assert read_table(b"a,a,,a\n1,2,3,4\n5,6,7,8\n").columns == ("a", "a (2)", "column 3", "a (4)")


# --- what is left out and said ------------------------------------------------------------------------------------


def test_columns_of_text_are_left_out_and_named() -> None:
    table = read_table(b"name,age,empty,height\nAnn,31,,1.7\nBob,45,,1.8\nCy,20,,1.6\n")
    assert table.columns == ("age", "height") and table.text == ("name", "empty")
    assert "Omitted columns of text or without values: name, empty." in table.remarks()


def test_a_slip_in_a_column_of_numbers_is_quoted() -> None:
    table = read_table(b"a,b\n1,1\n2,2 kg\n3,3\n4,4\n")
    assert table.columns == ("a",) and table.text == ("b (it contains '2 kg')",)


@pytest.mark.parametrize("missing", ["", " ", "NA", "n/a", "NaN", "null", "?", "-", "inf"])
def test_rows_with_a_missing_value_are_left_out_and_counted(missing: str) -> None:
    table = read_table(f"a,b\n1,2\n{missing},4\n5,6\n7,{missing}\n".encode())
    assert _rows(table) == [[1, 2], [5, 6]] and table.incomplete == 2
    assert "2 rows are omitted because a number is missing." in table.remarks()


def test_constant_columns_are_said() -> None:
    table = read_table(b"a,b\n1,.1\n2,.1\n3,.1\n")
    assert table.constant == ("b",) and "Constant columns: b." in table.remarks()


def test_of_a_long_table_an_even_choice_of_rows_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MOST_ROWS", 100)
    table = read_table("\n".join(["a", *map(str, range(1000))]).encode())
    assert table.every == 11 and table.values.squeeze(1).tolist() == list(range(0, 1000, 11))
    assert "only one of 11 rows is used" in " ".join(table.remarks())


def test_of_a_wide_table_the_first_columns_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MOST_CELLS", 400)
    header, row = ",".join(f"c{i}" for i in range(40)), ",".join(["1"] * 40)
    table = read_table("\n".join([header, *[row] * 50]).encode())
    assert len(table.columns) == tables.MOST_COLUMNS and table.more == 8
    assert len(table.values) <= 10
    assert "8 further columns of numbers are not used." in table.remarks()


def test_a_plain_table_has_one_remark() -> None:
    assert read_table(b"a,b\n1,2\n3,5\n").remarks() == ["2 rows and 2 columns of numbers are used."]
    assert read_table(b"a\n1\n2\n").remarks() == ["2 rows and 1 column of numbers are used."]


# --- what is refused ----------------------------------------------------------------------------------------------

REFUSED: list[tuple[bytes, str]] = [
    (b"", "the file is empty; choose another one"),
    (b"  \n \n", "the file contains no cells"),
    (b"PK\x03\x04 and so on", "is an Excel workbook or an archive, not text; save the table as CSV"),
    (b"\x89PNG\r\n\x1a\n\x00\x00", "the file is not a text file; save the table as CSV"),
    (bytes(range(256)) * 4, "the file is not a text file"),
    (b"a,b\n1,2\n", r"needs at least two rows of numbers; it has 1$"),
    (b"a,b\n", "needs at least two rows of numbers; it has 0"),
    (b"a,b\n1,2\n3,4,5\n6,7\n", "cells in line 3: 3, in the first row: 2; check its separators"),
    (b"a,b\n1,2\n\n3\n", "cells in line 4: 1, in the first row: 2"),
    (b"a,b\n1,5,2,5\n3,5,4,5\n", "rows of equal length"),  # decimal commas between commas
    (b"a,b\nx,y\nz,w\n", "needs a column of numbers; all columns contain text or no values: a, b"),
    (b"a,b\n1,\n,2\n3,\n", "two rows without missing numbers; it has 0: add the.* the column 'b'"),
    (b'a,b\n1,"' + b"2" * 200_000 + b'"\n', r"cannot be read as a table \(field larger than field limit"),
]


@pytest.mark.parametrize(("data", "sentence"), REFUSED)
def test_what_is_no_table_is_refused_in_words(data: bytes, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        read_table(data)


def test_the_sentence_names_the_file() -> None:
    with pytest.raises(ValueError, match=r"^my\.csv is empty"):
        read_table(b"", "my.csv")


def test_a_file_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tables.LARGEST_FILE == 200 * 2**20
    monkeypatch.setattr(tables, "LARGEST_FILE", 2**20)
    with pytest.raises(ValueError, match="has 2 MB, more than 1 MB: keep fewer rows"):
        read_table(b"a\n" + b"1\n" * 2**20)


# --- rows ---------------------------------------------------------------------------------------------------------


def test_split_deals_the_rows_out() -> None:
    first, same, other = split(100, 0.7, 1), split(100, 0.7, 1), split(100, 0.7, 2)
    assert first.dtype == torch.bool and int(first.sum()) == 70
    assert identical(first, same) and not identical(first, other)
    assert first[:70].sum() < 70  # not simply the first ones
    assert int(split(10, 0.01).sum()) == 2 and split(10, 1.0).all()


@pytest.mark.parametrize("patch", [1, 2, 3])
def test_a_photo_is_a_table_and_back(patch: int) -> None:
    image = random(3, 6, 12)
    rows = photo_rows(image, patch)
    assert rows.shape == (72 // patch**2, 3 * patch**2)
    assert identical(rows_photo(rows, 12, patch), image)
    assert identical(rows[0, :3], image[:, 0, 0]) and identical(rows[1, :3], image[:, 0, patch])


def test_edges_that_fill_no_patch_are_left_out() -> None:
    image = random(3, 7, 9)
    assert identical(rows_photo(photo_rows(image, 4), 9, 4), image[:, :4, :8])


@pytest.mark.parametrize("patch", [0, 8])
def test_a_patch_that_does_not_fit_is_refused(patch: int) -> None:
    image: Tensor = torch.zeros(3, 7, 9)
    with pytest.raises(ValueError, match=f"1 to 7 pixels a side in this photo; received {patch}"):
        photo_rows(image, patch)
