"""The HTML table and the HTML figure."""

from __future__ import annotations

import numpy as np

from normviz.html.picture import figure, grid
from normviz.html.table import Cell, Html, Row, table


def test_text_is_escaped_and_numbers_are_formatted() -> None:
    html = table(["", "a & b"], [["<b>", -0.5, None], ["x", Html("<b>2</b>"), 1e-6]])
    assert '<td></td><th scope="col">a &amp; b</th>' in html
    assert '<th scope="row">&lt;b&gt;</th><td>−0.5</td><td>–</td>' in html
    assert "<td><b>2</b></td><td>1·10<sup>−6</sup></td>" in html
    assert "<caption>" not in html and "<tfoot>" not in html


def test_cells_and_rows_have_attributes() -> None:
    rows = [Row([Cell("both", rows=2), Cell(1, "nv-a", "color:red", columns=2)], "nv-large"), Row([2], header=False)]
    html = table([], rows, "nv-kind", "A < B", foot=[["sum", 3]])
    assert '<table class="nv-data nv-kind"><caption>A &lt; B</caption><tbody><tr class="nv-large">' in html
    assert '<th rowspan="2" scope="rowgroup">both</th><td class="nv-a" style="color:red" colspan="2">1</td>' in html
    assert '<tr><td>2</td></tr></tbody><tfoot><tr><th scope="row">sum</th><td>3</td></tr></tfoot>' in html


def test_markup_does_not_survive_concatenation() -> None:
    assert "&lt;b&gt;" in table([], [[Html("<b>") + "x"]])


def test_a_figure_has_a_caption_and_an_alternative_text() -> None:
    html = figure(np.zeros((4, 4, 3), np.uint8), 'a "b" <c>', pixelated=True, style="flex:1")
    assert 'src="data:image/png;base64,' in html and 'alt="a &quot;b&quot; &lt;c&gt;"' in html
    assert "image-rendering:pixelated" in html and "margin:0;flex:1" in html and "<figcaption" in html
    plain = figure("map.png", alt="a map", title="Map")
    assert 'src="map.png" alt="a map"' in plain and "<b>Map</b>" in plain and "<figcaption" not in plain
    assert grid([plain, plain], "9rem").count("<figure") == 2
