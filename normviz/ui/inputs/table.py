"""The table picker: an uploaded CSV file, or a table included in Plotly."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st
from plotly import data

from normviz.tables import Table, read_table
from normviz.ui.kit import cache, jobs, page_layout, url_widgets

TABLES = {"gapminder": "countries in 2007", "iris": "iris flowers"}


def built_in(name: str) -> Table:
    """Load a table included in Plotly, without its code columns, through the same reader as uploaded files."""
    if name == "iris":
        rows = data.iris().drop(columns="species_id")
        rows = rows.rename(columns=lambda name: name if name == "species" else f"{name} (cm)".replace("_", " "))
    else:
        rows = data.gapminder(year=2007)[["country", "continent", "lifeExp", "pop", "gdpPercap"]]
        names = {"lifeExp": "life expectancy (years)", "pop": "population", "gdpPercap": "GDP per person (dollars)"}
        rows = rows.rename(columns=names)
    return read_table(rows.to_csv(index=False).encode())


@dataclass(frozen=True)
class TableInput:
    """A table and its origin.

    Attributes:
        table: its columns and values.
        identity: unique among all tables.
        private: whether it comes from a visitor's file; see `normviz.ui.kit.cache`.
    """

    table: Table
    identity: str
    private: bool


def pick() -> TableInput:
    """Draw the uploader and the list of built-in tables, and return the chosen table."""
    uploaded = st.file_uploader(
        "Your table (CSV)", ["csv", "tsv", "txt"], key="table-file", help="Kept in memory only, never saved."
    )
    name = url_widgets.select("Or a sample table", list(TABLES), "gapminder", "table", text=TABLES.__getitem__)
    if uploaded is not None:

        def read() -> Table:
            return jobs.compute(lambda: read_table(uploaded.getvalue(), uploaded.name))

        try:
            table = cache.keep("table", (), read, [cache.Private(uploaded.file_id)])
            return TableInput(table, uploaded.file_id, private=True)
        except ValueError as error:
            page_layout.sentence(f"{error}. The sample is shown instead.")
    return TableInput(cache.keep("table", name, lambda: built_in(name)), name, private=False)
