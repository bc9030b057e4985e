"""The pages without a browser: every method and normalization is drawn, and bad input gets one sentence."""

from __future__ import annotations

import io

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from normviz.paths import ROOT
from normviz.registry import methods
from normviz.samples import load_sample

WAIT = 60  # seconds


def open_page(name: str, **link: str) -> AppTest:
    """A page of the app, opened by a link."""
    test = AppTest.from_file(str(ROOT / "app.py"), default_timeout=WAIT)
    test.switch_page(f"pages/{name}.py")
    for key, value in link.items():
        test.query_params[key] = value
    return test.run()


def words(test: AppTest) -> str:
    """Everything that the page's boxes say."""
    return " ".join(box.proto.body for box in test.get("html"))


def errors(test: AppTest) -> list[str]:
    """The sentences in error boxes, of rules and of defects."""
    return [box.proto.body for box in test.get("html") if "nv-error" in box.proto.body or "nv-sorry" in box.proto.body]


FAST = [method.title for method in methods("attribution") if not method.slow]


@pytest.mark.parametrize("title", FAST)
def test_every_method_draws_the_cat(title: str) -> None:
    test = open_page("cam", method=title)
    assert not test.exception
    assert not errors(test), words(test)
    assert "Prediction: cat" in words(test)


SHAPES = {"nc": "N, C", "ntd": "N, T, D", "nchw": "N, C, H, W", "ncdhw": "N, C, D, H, W"}
NORMS = [method for method in methods("normalization") if method.takes_activations]
PLACES = [(method.title, method.layouts()[-1]) for method in NORMS]
PLACES += [(title, layout) for title in ("Batch Normalization", "Layer Normalization") for layout in ("nc", "ntd")]


@pytest.mark.parametrize(("title", "layout"), PLACES)
def test_every_normalization_is_drawn(title: str, layout: str) -> None:
    test = open_page("normalize", method=title, shape=SHAPES[layout], cell="1, 2")
    assert not test.exception
    assert not errors(test), words(test)
    assert test.selectbox(key="method").value == next(method.name for method in NORMS if method.title == title)


def test_a_knob_that_another_method_has_too_keeps_to_its_own_range() -> None:
    test = open_page("normalize", method="Local Response Normalization")  # alpha 1e-4
    for name in ("dynamic_tanh", "inference_example_weighing", "lp_norm", "min_max_scaling", "batch_norm"):
        test.selectbox(key="method").select(name).run()
        assert not test.exception and not errors(test), (name, words(test))


def test_padding_is_counted_by_some_and_said() -> None:
    test = open_page("normalize", shape="N, T, D", padding="40")
    assert "includes the padded zeros" in words(test)
    test.selectbox(key="method").select("recurrent_batch_norm").run()
    assert "includes the padded zeros" not in words(test) and not errors(test)


def test_gamma_and_beta_that_undo_batch_norm_give_the_input_back() -> None:
    test = open_page("normalize", undo="true", cell="3, 5")
    assert not test.exception and not errors(test)
    assert test.toggle(key="undo").value


def test_a_cell_that_is_not_there_is_said() -> None:
    test = open_page("normalize", cell="99, 0")
    assert "A cell must be a row from 0 to 15 and a column from 0 to 15" in " ".join(errors(test))


def npy(array: object, **options: bool) -> bytes:
    file = io.BytesIO()
    np.save(file, np.asarray(array), **options)
    return file.getvalue()


def test_an_array_from_a_file_is_normalized_and_a_bad_one_is_said() -> None:
    test = open_page("normalize", source="A file")
    assert not errors(test)
    upload = test.file_uploader(key="array-file")
    upload.set_value(("x.npy", npy(np.random.default_rng(0).normal(size=(4, 5, 6))), "application/octet-stream")).run()
    assert not errors(test) and "read as (N, T, D)" in " ".join(caption.value for caption in test.caption)
    for content, sentence in (
        (npy(np.array([{}], dtype=object), allow_pickle=True), "objects, which are not loaded"),
        (npy(np.ones(7)), "received shape (7,)"),
        (npy(np.full((3, 4), np.nan)), "12 NaN and 0 infinite values"),
        (b"no array", "does not start with the .npy header"),
    ):
        test.file_uploader(key="array-file").set_value(("x.npy", content, "application/octet-stream")).run()
        assert not test.exception and sentence in " ".join(errors(test))


def test_a_table_is_normalized_and_a_bad_one_is_said() -> None:
    test = open_page("normalize", source="A table", table="iris flowers", method="Z-Score")
    assert not errors(test) and "N rows, C columns: sepal length (cm)" in " ".join(c.value for c in test.caption)
    upload = test.file_uploader(key="table-file")
    upload.set_value(("t.csv", b"a,b,name\n1,2,x\n3,5,y\n4,4,z\n", "text/csv")).run()
    assert not errors(test) and "of text or without values: name" in " ".join(caption.value for caption in test.caption)
    test.file_uploader(key="table-file").set_value(("t.csv", b"name\nx\ny\n", "text/csv")).run()
    assert not test.exception and "The sample is shown instead" in " ".join(errors(test))


def test_photos_of_ones_own_make_the_batch() -> None:
    test = open_page("normalize", source="Photos", others="1")
    assert not errors(test)
    pictures = [("cat.png", load_sample("chelsea"), "image/png"), ("bad.png", b"no", "image/png")]
    test.file_uploader(key="batch-files").set_value(pictures).run()
    assert not test.exception and "It is left out" in " ".join(errors(test))
    assert test.slider(key="example").max == 2  # the sample, the cat, one sample beside them


def test_one_value_per_channel_in_training_is_said_and_the_page_goes_on() -> None:
    test = open_page("normalize", shape="N, C", N="1")
    assert "more than one value per channel" in " ".join(errors(test))
    test.segmented_control(key="training").set_value(False).run()
    assert not errors(test)


def test_the_network_says_when_it_does_not_know() -> None:
    test = open_page("cam", sample="the Hubble deep field")
    assert "may be none of its 11 classes" in words(test)


def test_a_photo_of_ones_own_is_used_and_a_broken_one_is_said() -> None:
    test = open_page("cam")
    test.file_uploader(key="photo-file").set_value(("cat.png", load_sample("chelsea"), "image/png")).run()
    assert "Prediction: cat" in words(test)
    test.file_uploader(key="photo-file").set_value(("cat.jpg", load_sample("chelsea")[:5000], "image/jpeg")).run()
    assert "The sample is shown instead" in " ".join(errors(test))


def test_an_unknown_class_or_layer_in_a_link_is_said_and_ignored() -> None:
    test = open_page("cam", **{"class": "unicorn", "layer": "stage9"})
    said = " ".join(caption.value for caption in test.caption)
    assert "unicorn" in said
    assert "stage9" in said
    assert not errors(test)
