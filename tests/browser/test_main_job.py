"""The main job as a person does it: a photo becomes a heatmap, activations become a picture of their normalization."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from playwright.sync_api import FilePayload, Page, expect

from normviz.images import resize_map
from normviz.samples import load_sample
from tests.browser.conftest import Open, settled

pytestmark = pytest.mark.browser
expect.set_options(timeout=30_000)
ROWS, COLUMNS, HEIGHT, WIDTH = slice(20, 270), slice(90, 330), 300, 451  # where the cat is in its photo, pixels


def drop(page: Page, file: FilePayload) -> None:
    """Give a file to the uploader."""
    page.locator('[data-testid="stFileUploaderDropzoneInput"]').set_input_files(file)


def upload_cat(page: Page) -> None:
    """Drop the cat on the uploader, as a file, and wait for its heatmap."""
    drop(page, FilePayload(name="holiday.png", mimeType="image/png", buffer=load_sample("chelsea")))
    expect(page.get_by_text("Your photo", exact=True).last).to_be_visible()
    settled(page)


def choose(page: Page, label: str, option: str, wait: bool = True) -> None:
    """Pick an option of a list by typing it."""
    field = page.locator('[data-testid="stSelectbox"]').filter(has=page.get_by_text(label, exact=True)).locator("input")
    field.click()
    field.fill(option)
    page.get_by_role("option", name=option, exact=True).click()
    if wait:
        settled(page)


def test_an_uploaded_cat_is_called_a_cat_and_its_heatmap_lies_on_the_cat(open_page: Open, tmp_path: Path) -> None:
    page = open_page("cam")
    upload_cat(page)
    expect(page.get_by_role("status").filter(has_text="Prediction: cat")).to_be_visible()
    expect(page.locator(".js-plotly-plot .heatmaplayer image").first).to_be_visible()
    with page.expect_download() as loading:
        page.get_by_role("button", name="Raw map (.npy)").click()
    path = tmp_path / "map.npy"
    loading.value.save_as(path)
    raw = np.load(path, allow_pickle=False)
    assert raw.shape == (8, 8)
    energy = resize_map(torch.from_numpy(raw), (HEIGHT, WIDTH)).numpy()
    share = energy[ROWS, COLUMNS].sum() / energy.sum()
    box = (270 - 20) * (330 - 90) / (HEIGHT * WIDTH)
    assert share >= 0.5 > box


def test_the_link_restores_the_choices_elsewhere(open_page: Open) -> None:
    page = open_page("cam")
    choose(page, "Method", "LayerCAM")
    choose(page, "Class", "dog")
    expect(page.get_by_text("LayerCAM: dog")).to_be_visible()
    address = page.url.split("/", 3)[3]
    assert "class=dog" in address
    other = open_page(address)
    expect(other.get_by_text("LayerCAM: dog")).to_be_visible()


def test_a_click_on_a_class_shows_its_map(open_page: Open) -> None:
    page = open_page("cam")
    expect(page.get_by_text("Grad-CAM: cat")).to_be_visible()
    labels = page.locator(".js-plotly-plot .barlayer .point")
    labels.nth(1).click(force=True)
    expect(page.get_by_text("Grad-CAM: cat")).not_to_be_visible()
    assert "class=" in page.url


def middle_of_the_map(page: Page) -> tuple[float, float]:
    """Where the middle of the map is on the screen."""
    image = page.locator(".js-plotly-plot .heatmaplayer image").first
    image.scroll_into_view_if_needed()
    box = image.bounding_box()
    assert box is not None
    return box["x"] + 0.53 * box["width"], box["y"] + 0.53 * box["height"]


def test_a_click_on_a_cell_takes_it_apart_into_channels(open_page: Open) -> None:
    page = open_page("cam")
    expect(page.get_by_text("The numbers of the strongest cell")).to_be_visible()
    page.mouse.click(*middle_of_the_map(page))
    expect(page.get_by_text("The numbers of the pinned cell")).to_be_visible()


def test_a_map_that_takes_long_is_stopped_and_shown_as_far_as_it_came(open_page: Open) -> None:
    page = open_page("cam")
    choose(page, "Method", "RISE (slow)", wait=False)
    expect(page.get_by_text("an approximation of the finished map")).to_be_visible()
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.get_by_text("this is an approximation of the finished map")).to_be_visible()
    expect(page.get_by_role("button", name="Go on to the end")).to_be_visible()


def test_a_cell_of_the_ledger_is_said_as_a_part_of_the_logit(open_page: Open) -> None:
    page = open_page("evidence")
    expect(page.get_by_text("the score (logit) of cat")).to_be_visible()
    page.mouse.move(*middle_of_the_map(page))
    expect(page.locator(".nv-readout strong")).to_have_text(re.compile(r"^[+−-]?[\d.]+ of [\d.]+ logits$"))


def test_a_file_that_is_no_picture_gets_a_sentence_and_the_page_goes_on(open_page: Open) -> None:
    page = open_page("cam")
    drop(page, FilePayload(name="cat.jpg", mimeType="image/jpeg", buffer=b"this is no photo"))
    expect(page.get_by_role("alert").filter(has_text="not a picture")).to_be_visible()
    expect(page.locator(".js-plotly-plot .heatmaplayer image").first).to_be_visible()


def test_a_normalization_is_chosen_and_its_picture_follows(open_page: Open) -> None:
    page = open_page("normalize")
    expect(page.get_by_text("16 statistics, shared over N, H, W")).to_be_visible()
    choose(page, "Normalization", "Group Normalization")
    expect(page.get_by_text("64 statistics, shared over C/G, H, W")).to_be_visible()
    other = open_page(page.url.split("/", 3)[3])
    expect(other.get_by_text("64 statistics, shared over C/G, H, W")).to_be_visible()
