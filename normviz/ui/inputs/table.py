"""The table that a page works on: uploaded, or one that comes with Plotly."""

from __future__ import annotations

import streamlit as st
from plotly import data

from normviz.tables import Table, read_table
from normviz.ui.kit import cache, page_layout, url_widgets

TABLES = {"gapminder": "countries in 2007", "iris": "iris flowers"}


def built_in(name: str) -> Table:
    """A table that comes with Plotly, without its columns of codes; it goes the way of an uploaded file."""
    if name == "iris":
        rows = data.iris().drop(columns="species_id")
        rows = rows.rename(columns=lambda name: name if name == "species" else f"{name} (cm)".replace("_", " "))
    else:
        rows = data.gapminder(year=2007)[["country", "continent", "lifeExp", "pop", "gdpPercap"]]
        names = {"lifeExp": "life expectancy (years)", "pop": "population", "gdpPercap": "GDP per person (dollars)"}
        rows = rows.rename(columns=names)
    return read_table(rows.to_csv(index=False).encode())


def pick() -> tuple[Table, str | None]:
    """Draw the uploader and the built-in tables; the table, and its name if it is a built-in one."""
    uploaded = st.file_uploader(
        "Your table (CSV)", ["csv", "tsv", "txt"], key="table-file", help="It stays in this server's memory."
    )
    name = url_widgets.select("Or a sample", list(TABLES), "gapminder", "table", text=TABLES.__getitem__)
    if uploaded is not None:
        try:
            table = cache.private(
                "table", uploaded.file_id, lambda: cache.compute(lambda: read_table(uploaded.getvalue(), uploaded.name))
            )
            return table, None
        except ValueError as error:
            page_layout.sentence(f"{error}. The sample is shown instead.")
    return cache.memo(("table", name), lambda: built_in(name)), name
