"""Every registered method keeps the registry's rules; the registry keeps its own."""

from __future__ import annotations

import inspect
import json
import math
import re
from types import ModuleType
from typing import Annotated, Literal, get_args

import pytest

import normviz.attribution
import normviz.normalization
from normviz import registry
from normviz.bibliography import BIBLIOGRAPHY
from normviz.normalization.patterns import count, sizes
from normviz.registry import (
    Attribution,
    Kind,
    Knob,
    Method,
    Normalization,
    Range,
    Value,
    attribution,
    get,
    methods,
    normalization,
)
from tests.reference import attribution_reference
from tests.reference import normalization as normalization_reference

KNOBS = [(method, knob) for method in methods() for knob in method.knobs]
each_method = pytest.mark.parametrize("method", methods(), ids=lambda method: method.name)
each_knob = pytest.mark.parametrize(("method", "knob"), KNOBS, ids=lambda value: value.name)


def test_batch_norm_is_the_first_of_the_normalizations() -> None:
    """The explorer opens with the first one."""
    assert methods("normalization")[0].name == "batch_norm"
    assert len(methods()) == len(methods("normalization")) + len(methods("attribution"))


@pytest.mark.parametrize("package", [normviz.normalization, normviz.attribution])
def test_every_method_can_be_imported_from_its_package(package: ModuleType) -> None:
    kind: Kind = "attribution" if package is normviz.attribution else "normalization"
    for method in methods(kind):
        assert getattr(package, method.name) is method.function


@pytest.mark.parametrize("method", methods("normalization"), ids=lambda method: method.name)
def test_a_normalization_says_when_to_use_it_and_what_goes_wrong(method: Normalization) -> None:
    for text in (method.use, method.common_mistake):
        assert text.endswith(".") and len(text) < 240 and "\n" not in text
    assert len(method.torch) <= 160
    assert bool(method.axes) == method.takes_activations
    assert method.scale in get_args(registry.Scale) and method.center in get_args(registry.Center)
    if method.scale:  # the words speak of groups
        assert any(method.axes.values())


@each_method
def test_a_method_is_complete(method: Method) -> None:
    assert method.title and method.formula and method.source in BIBLIOGRAPHY.values()
    assert method.summary.endswith(".")
    assert not isinstance(method, Attribution) or method.unit
    doc = inspect.getdoc(method.function) or ""
    assert "Returns:" in doc and "Source:" in doc


@each_method
def test_a_method_has_a_slow_reference_of_the_same_name(method: Method) -> None:
    if method.kind == "attribution":
        slow = attribution_reference(method.name)
    else:
        slow = getattr(normalization_reference, method.name)
    assert slow is not method.function
    if method.kind == "normalization":  # the same arguments in the same order, with the same defaults
        mine, its = (inspect.signature(each).parameters.values() for each in (method.function, slow))
        assert [(p.name, p.default) for p in mine] == [(p.name, p.default) for p in its]


@pytest.mark.usefixtures("empty")
def test_an_attribution_has_its_own_facts() -> None:
    def glow(probe: int) -> int:
        """Return a map."""
        return probe

    attribution(title="Glow", cite="selvaraju2017grad", formula="M", level="layer", unit="logits", needs=("relu",))(
        glow
    )
    method = get("glow", "attribution")
    facts = method.facts()
    assert (method.level, method.unit, method.needs) == ("layer", "logits", ("relu",)) and method.reads_layer
    assert facts["level"] == "layer" and facts["needs"] == ["relu"] and "axes" not in facts


@each_method
def test_facts_are_plain_json(method: Method) -> None:
    facts = json.loads(json.dumps(method.facts(), allow_nan=False))
    assert facts["name"] == method.name and facts["kind"] == method.kind
    assert [param["name"] for param in facts["params"]] == [knob.name for knob in method.knobs]
    assert facts["url"].startswith("https://")


def _plain(name: str) -> str:
    return re.sub(r"[\s_\-]", "", name).lower().replace("++", "pp")


def test_names_and_aliases_lead_to_one_method_each() -> None:
    spoken = [(_plain(name), method) for method in methods() for name in {method.name, method.title, *method.aliases}]
    owners: dict[str, str] = {}
    for name, method in spoken:
        assert owners.setdefault(name, method.name) == method.name
    for method in methods():
        for name in (method.name, method.title, *method.aliases):
            assert get(name) is get(name.upper(), method.kind) is get(name.replace(" ", "-")) is method


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("BN", "batch_norm"), ("BatchNorm2D", "batch_norm"), ("Spatial BatchNorm", "batch_norm"),
        ("per-channel BatchNorm", "batch_norm"), ("input normalization", "batch_norm"), ("LayerNorm", "layer_norm"),
        ("RMSNorm", "rms_norm"), ("contrast normalization", "instance_norm"), ("group norm", "group_norm"),
        ("Grad-CAM", "grad_cam"), ("Grad-CAM++", "grad_cam_pp"),
    ],
)  # fmt: skip
def test_the_names_that_texts_use_are_found(alias: str, name: str) -> None:
    assert get(alias).name == name


def test_an_unknown_name_is_refused_with_the_choices() -> None:
    with pytest.raises(ValueError, match="there is no normalization method 'grad_cam'; choose one of batch_norm, "):
        get("grad_cam", "normalization")
    with pytest.raises(ValueError, match=r"there is no method 'batchnom'; choose one of .*\bbatch_norm\b"):
        get("batchnom")


# --- knobs --------------------------------------------------------------------------------------------------------


@each_knob
def test_a_knob_takes_its_default_and_its_ends_as_value_and_as_text(method: Method, knob: Knob) -> None:
    values: list[Value] = [knob.default, *knob.choices]
    if knob.range:
        values += [knob.type(knob.range.low), knob.type(knob.range.high)]
    if knob.type is bool:
        values += [True, False]
    for value in values:
        for given in (value, str(value), f" {value} "):
            parsed = knob.parse(given)
            assert parsed == value and type(parsed) is knob.type
    assert knob.default == inspect.signature(method.function).parameters[knob.name].default
    assert knob.help.endswith(".") and knob.symbol


@each_knob
def test_a_knob_refuses_the_wrong_type_and_what_lies_outside(method: Method, knob: Knob) -> None:
    rule = {
        bool: "must be true or false",
        str: "must be one of",
        int: "must be a whole number",
        float: "must be a number",
    }
    wrong: list[Value] = ["nonsense", ""]
    if knob.range:
        assert knob.range.low < knob.range.high and (not knob.range.log or knob.range.low > 0)
        wrong += [math.nextafter(knob.range.low, -math.inf), knob.range.high * 1.001 + 1, "nan", "inf"]
        if knob.type is int:
            wrong += [int(knob.range.low) - 1, int(knob.range.high) + 1, 1.5]
    for value in wrong:
        with pytest.raises(ValueError, match=f"^{knob.name} {rule[knob.type]}.*; received"):
            method.settings({knob.name: value})


@each_knob
def test_the_symbol_of_a_number_occurs_in_the_formula(method: Method, knob: Knob) -> None:
    if knob.range:
        after = r"(?![A-Za-z])"  # \epsilon, not \epsilonx
        assert re.search(re.escape(knob.range.symbol) + after, method.formula)


@each_method
def test_settings_fill_in_the_defaults_and_refuse_strangers(method: Method) -> None:
    assert method.settings() == {knob.name: knob.default for knob in method.knobs}
    with pytest.raises(ValueError, match=f"{method.name} has no knob 'color'; (its knobs are|it has no knobs)"):
        method.settings({"color": 1})


# --- axes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", methods("normalization"), ids=lambda method: method.name)
def test_the_axes_are_patterns_of_their_layouts(method: Normalization) -> None:
    shapes = {"nc": (16, 8), "ntd": (16, 3, 8), "nchw": (16, 8, 3, 5), "ncdhw": (16, 8, 2, 3, 5)}
    assert set(method.layouts()) <= set(shapes)
    for key, pattern in method.axes.items():
        layout, _, condition = key.partition(" ")
        settings: dict[str, Value] = {condition: True} if condition else {}
        assert method.pattern(layout, settings) == pattern
        if pattern:
            assert count(pattern, shapes[layout], **sizes(method, method.settings(settings))) >= 1


def test_conditions_choose_the_pattern() -> None:
    layer, batch, instance = (get(name, "normalization") for name in ("layer_norm", "batch_norm", "instance_norm"))
    assert layer.pattern("nchw") == "n c h w -> n"
    assert layer.pattern("nchw", {"per_position": True}) == "n c h w -> n h w"
    assert layer.pattern("ntd", {"per_position": True}) == "n t d -> n t"
    assert batch.pattern("nchw") == "n c h w -> c"
    assert batch.pattern("nchw", {"training": False}) is None
    assert instance.pattern("nc") is None and instance.layouts() == ("ntd", "nchw", "ncdhw")


def test_tensors_are_arguments_but_no_knobs() -> None:
    batch = get("batch_norm")
    assert [knob.name for knob in batch.knobs] == ["training", "eps"]
    assert batch.takes("weight") and batch.takes("running_mean") and not get("rms_norm").takes("bias")


# --- decorators ---------------------------------------------------------------------------------------------------


@pytest.fixture
def empty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry of its own."""
    monkeypatch.setattr(registry, "_METHODS", {})


@pytest.mark.usefixtures("empty")
def test_a_decorator_reads_the_signature_and_returns_the_function_unchanged() -> None:
    def soft(
        x: float,
        size: Annotated[int, Range(1, 9, symbol="S", log=True)] = 3,
        kind: Literal["a", "b"] = "b",
        on: bool = False,
    ) -> float:
        """Do nothing, softly.

        Args:
            x: a number.
            size: how large it is,
                in two lines.
            kind: which one.
            on: whether it is on.
        """
        return x * size

    record = normalization(title="Soft", cite="wu2018group", formula="S", aliases=("pillow",))
    assert record(soft) is soft
    method = get("Pillow")
    assert method.summary == "Do nothing, softly." and method.facts()["axes"] is None
    assert method.knobs == (
        Knob("size", int, 3, "how large it is, in two lines.", Range(1, 9, "S", log=True)),
        Knob("kind", str, "b", "which one.", None, ("a", "b")),
        Knob("on", bool, False, "whether it is on."),
    )
    assert method.settings({"size": "4", "on": "yes"}) == {"size": 4, "kind": "b", "on": True}
    with pytest.raises(TypeError, match="a method named soft is already registered"):
        record(soft)


@pytest.mark.usefixtures("empty")
def test_a_decorator_requires_a_description_of_every_knob() -> None:
    def silent(x: float, on: bool = True) -> float:
        """Say nothing."""
        return x if on else 0

    with pytest.raises(TypeError, match="silent: the docstring's Args section does not describe on"):
        normalization(title="Silent", cite="wu2018group", formula="x")(silent)
    assert methods() == []
