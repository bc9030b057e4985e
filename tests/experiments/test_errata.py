"""The errata: the printed formula is really off, the right one is the registered method, the known numbers come out."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from normviz.activations import padding_mask
from normviz.attribution import Probe
from normviz.experiments.errata import ERRATA, Outcome
from normviz.experiments.errata.attribution import derivatives, masked_map, probe
from normviz.experiments.errata.erratum import seeded_normal
from normviz.experiments.errata.networks import NILPOTENT, SHEAR, one_sided, sigma
from normviz.registry import get
from tests.support.comparison import identical

NAMES = list(ERRATA)


@functools.cache
def outcome(name: str) -> Outcome:
    return ERRATA[name].run()


def fact(name: str, begins: str) -> tuple[float, float]:
    """What the printed and the right formula give for the fact whose text begins so; NaN where nothing is printed."""
    found = next(f for f in outcome(name).facts if f.label.startswith(begins))
    return math.nan if found.printed is None else found.printed, found.right


def registered(name: str, *arguments: Tensor | Probe, **settings: object) -> Tensor:
    result: Tensor = get(name).function(*arguments, **settings)
    return result


# --- every erratum ------------------------------------------------------------------------------------------------


def test_every_item_of_the_list_is_there() -> None:
    assert len(NAMES) == len({e.title for e in ERRATA.values()}) == 24
    wrong = {method for erratum in ERRATA.values() for method in erratum.methods}
    assert wrong >= {
        "batch_norm", "batch_norm_rnn", "recurrent_batch_norm", "inference_example_weighing", "layer_norm", "rms_norm",
        "l2_norm", "spectral_norm", "adaptive_instance_norm", "scale_norm", "fix_norm", "qk_norm", "grad_norm", "cam",
        "score_cam", "grad_cam_pp",
    }  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_an_erratum_is_complete(name: str) -> None:
    erratum = ERRATA[name]
    assert re.fullmatch(r"[a-z0-9-]+", name) and erratum.name == name
    assert all(get(method) for method in erratum.methods) and erratum.methods
    assert r"\wrong{" in erratum.printed and r"\wrong{" not in erratum.right
    assert erratum.printed != erratum.right
    for formula in (erratum.printed, erratum.right):
        assert formula.count("{") == formula.count("}") and formula.count(r"\Big(") == formula.count(r"\Big)")
    assert erratum.why.endswith(".") and "\n" not in erratum.why and 150 < len(erratum.why) < 600


@pytest.mark.parametrize("name", NAMES)
def test_an_outcome_can_be_drawn(name: str) -> None:
    seen = outcome(name)
    assert seen.right.ndim == 1 and torch.isfinite(seen.right).all()
    assert (seen.printed is None) == bool(seen.refusal)
    if seen.printed is not None:
        assert seen.printed.shape == seen.right.shape and torch.isfinite(seen.printed).all()
    assert not (seen.labels and seen.at)
    assert len(seen.labels or seen.at) in (0, len(seen.right))
    assert seen.facts and all(math.isfinite(f.right) for f in seen.facts)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "exploding-gradients"])  # that one takes long
def test_an_outcome_is_the_same_each_time(name: str) -> None:
    again = ERRATA[name].run()
    assert identical(again.right, outcome(name).right) and again.facts == outcome(name).facts


RESIDUALS = {
    "spatial-deviation": (2.0, 3.5), "recurrent-sum": (0.05, 1.0), "padding-counted": (1.5, 3.0),
    "training-average": (6.0, 7.0), "weighing-square": (3.99, 4.01), "layer-norm-undivided": (10.0, 20.0),
    "rms-norm-centered": (2.0, 5.0), "rms-norm-is-not-l2": (2.0, 5.0), "adain-square": (5.0, 7.0),
    "adain-exchanged": (3.0, 3.5), "gpt-batch-norm": (0.2, 1.0), "power-iteration-shape": (2.0, 4.0),
    "power-iteration-shear": (9.09, 9.11), "power-iteration-nilpotent": (0.999, 1.001),
    "spectral-radius": (9.09, 9.11), "scale-norm-shared": (4.9, 5.1), "fix-norm-activations": (0.1, 0.3),
    "qk-norm-scale": (0.9, 1.0), "grad-norm-gradients": (0.4, 0.8), "exploding-gradients": (2e4, 2e5),
    "cam-bias": (0.5, 1.5), "score-cam-mask": (0.2, 0.6), "grad-cam-pp-logit": (0.01, 0.1),
    "grad-cam-pp-relu": (4.0, 7.0),
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_the_residual_is_really_there(name: str) -> None:
    low, high = RESIDUALS[name]
    assert low < outcome(name).residual < high


# --- the right side is the registered method ------------------------------------------------------------------------


def _recurrent() -> Tensor:
    x, w = seeded_normal(64, 12, 16, seed=1), seeded_normal(16, 16, seed=2, std=1 / 4)
    return registered("batch_norm_rnn", x, w, seeded_normal(16, 16, seed=3, std=2 / 4)).square().mean((0, 2)).sqrt()


def _padded() -> Tensor:
    mask = padding_mask(32, 24, 0.51, seed=153)
    return registered("recurrent_batch_norm", seeded_normal(32, 24, 4, seed=9, mean=3), mask)[mask].flatten()


def _adain(statistic: Callable[[Tensor], Tensor]) -> Tensor:
    scale, shift = (torch.tensor(v).double()[:, None, None] for v in ([0.5, 2.0, 3.0], [2.0, 0.0, -2.0]))
    content, style = seeded_normal(1, 3, 16, 16, seed=9, mean=1), seeded_normal(1, 3, 16, 16, seed=10) * scale + shift
    return statistic(registered("adaptive_instance_norm", content, style)[0].flatten(1))


def _tokens() -> Tensor:
    x = seeded_normal(4, 8, 16, seed=11)
    other = torch.cat([x[:, :-1], seeded_normal(4, 1, 16, seed=12, std=3)], dim=1)
    moved = registered("layer_norm", other) - registered("layer_norm", x)
    return moved.square().mean((0, 2)).sqrt()


def _attention() -> Tensor:
    q = F.normalize(seeded_normal(1, 64, 32, seed=8), dim=-1)
    return (math.log2(64**2 - 64) * q @ q.mT).softmax(-1)[0, 0, :16]


SHAPES = ((3, 5), (6, 4), (8, 2))  # outputs and inputs of the matrices that are not square
RIGHT: dict[str, Callable[[], Tensor]] = {
    "spatial-deviation": lambda: registered("batch_norm", seeded_normal(8, 4, 16, 16, seed=124, mean=3)).flatten(),
    "recurrent-sum": _recurrent,
    "padding-counted": _padded,
    "training-average": lambda: torch.zeros(50, dtype=torch.float64),
    "weighing-square": lambda: torch.tensor([4.0, 3.0, 2.0, 1.0, 0.0]).double(),  # without what the example adds
    "layer-norm-undivided": lambda: registered("layer_norm", seeded_normal(256, 32, seed=6, mean=2, std=5)).flatten(),
    "rms-norm-centered": lambda: registered("rms_norm", seeded_normal(256, 32, seed=7, mean=3), eps=1e-5).flatten(),
    "rms-norm-is-not-l2": lambda: registered("rms_norm", seeded_normal(64, 64, seed=8, std=2), eps=1e-5).flatten(),
    "adain-square": lambda: _adain(lambda y: y.std(1, correction=0)),
    "adain-exchanged": lambda: _adain(lambda y: y.mean(1)),
    "gpt-batch-norm": _tokens,
    "power-iteration-shape": lambda: torch.stack(
        [torch.linalg.matrix_norm(seeded_normal(*shape, seed=k), ord=2) for k, shape in enumerate(SHAPES, start=1)]
    ),
    "power-iteration-shear": lambda: torch.linalg.matrix_norm(SHEAR, ord=2).expand(11),
    "power-iteration-nilpotent": lambda: torch.linalg.matrix_norm(NILPOTENT, ord=2).expand(4),
    "qk-norm-scale": _attention,
    "cam-bias": lambda: torch.stack([registered("cam", probe(target=c)).mean() for c in range(4)]) + probe().head.bias,
    "score-cam-mask": lambda: torch.zeros(6, dtype=torch.float64),
    "grad-cam-pp-relu": lambda: registered("grad_cam_pp", probe("0")).flatten(),
}


@pytest.mark.parametrize("name", RIGHT)
def test_the_right_side_is_the_registered_method(name: str) -> None:
    right = outcome(name).right
    if name == "weighing-square":  # the stored part of the variance, (1 - alpha) 4, and what the example adds
        alpha, x = torch.linspace(0, 1, 5).double(), seeded_normal(1, 1, 32, 32, seed=5, mean=3.5, std=1.5)
        own = alpha * x.var(correction=0) + alpha * (1 - alpha) * (x.mean() - 3) ** 2
        torch.testing.assert_close(right - own, RIGHT[name](), rtol=0, atol=1e-9)
    else:
        atol = {"power-iteration-shear": 2e-4, "power-iteration-shape": 1e-6}.get(name, 1e-9)  # estimates of sigma
        torch.testing.assert_close(right, RIGHT[name](), rtol=0, atol=atol)


def test_score_cam_with_the_right_masks_is_the_registered_one() -> None:
    seen = probe("0")
    maps = seen.activations[0]
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    torch.testing.assert_close(masked_map(seen, (maps - low) / (high - low)), registered("score_cam", seen)[0])


def test_grad_cam_pp_follows_from_the_derivatives_of_the_exponential() -> None:
    seen = probe("0")
    g, a, score = seen.gradients[0], seen.activations[0], seen.logits[0, seen.target[0]].exp()
    first, second = derivatives(seen, exponential=True)
    torch.testing.assert_close(first, g * score)
    torch.testing.assert_close(second, g.square() * score)
    alpha = second / (2 * second + a.sum((1, 2), keepdim=True) * g**3 * score)
    alpha = torch.where(g > 0, alpha, 0)
    weights = (alpha * first.relu()).sum((1, 2), keepdim=True) / score
    torch.testing.assert_close((weights * a).sum(0).relu(), registered("grad_cam_pp", seen)[0])


# --- the numbers that are known --------------------------------------------------------------------------------------


def test_the_known_numbers_of_activations() -> None:
    printed, right = fact("spatial-deviation", "standard deviation")
    assert printed == pytest.approx(0.315, abs=0.001) and right == pytest.approx(1, abs=1e-5)
    assert fact("padding-counted", "mean") == pytest.approx((1.47, 3.02), abs=0.005)
    assert fact("padding-counted", "share")[1] == pytest.approx(0.51, abs=0.005)
    for step, mean in ((1, 6.7), (5, 2.9), (10, 1.4), (22, 0.4), (50, 0.0)):
        lags = 10 * 0.9**step / math.sqrt(0.9**step + 9 * (1 - 0.9**step))
        assert fact("training-average", f"mean of the output, step {step}")[0] == pytest.approx(lags, abs=0.1)
        assert lags == pytest.approx(mean, abs=0.06)
    assert fact("weighing-square", "variance at") == pytest.approx((0, 4), abs=1e-9)
    assert fact("rms-norm-centered", "mean") == pytest.approx((0, 3 / math.sqrt(10)), abs=0.01)
    assert fact("rms-norm-is-not-l2", "right divided by printed")[1] == pytest.approx(8, abs=1e-4)
    assert fact("adain-exchanged", "correlation") == pytest.approx((0, 1), abs=0.05)
    assert fact("gpt-batch-norm", "change")[1] == 0 < 0.1 < fact("gpt-batch-norm", "change")[0]


def test_with_the_square_the_deviation_is_squared() -> None:
    seen = outcome("adain-square")
    assert seen.printed is not None
    torch.testing.assert_close(seen.printed, seen.right.square(), rtol=1e-4, atol=0)


def test_the_wrapped_recurrent_sum_keeps_its_size_and_the_right_one_grows() -> None:
    seen = outcome("recurrent-sum")
    assert seen.printed is not None
    assert float(seen.printed.max() - seen.printed.min()) < 0.03
    assert float(seen.right[-1] - seen.right[0]) > 0.1


def test_the_known_numbers_of_power_iteration() -> None:
    assert fact("power-iteration-shear", "σ after 2000")[0] == pytest.approx(1.0005, abs=5e-6)
    assert fact("power-iteration-shear", "σ after 2000")[1] == pytest.approx(10.099, abs=5e-4)
    assert fact("power-iteration-nilpotent", "σ after 2") == (0, 1)
    assert "the second step fails" in outcome("power-iteration-shape").refusal
    with pytest.raises(RuntimeError, match="size mismatch"):
        one_sided(torch.ones(3, 5), torch.ones(5), 2)
    one_sided(torch.ones(3, 5), torch.ones(5), 1)  # the first step is possible


def test_the_spectral_radius_agrees_for_symmetric_matrices_only() -> None:
    seen = outcome("spectral-radius")
    assert seen.printed is not None and seen.labels[0] == "symmetric"
    ratio = seen.right[:3] / seen.printed[:3]
    assert ratio[0] == pytest.approx(1, abs=1e-3) and float(ratio[1:].min()) > 1.8
    printed, right = fact("spectral-radius", "random")
    assert printed > 1.8 and right == pytest.approx(1, abs=1e-3)
    assert sigma(SHEAR) == pytest.approx(float(torch.linalg.matrix_norm(SHEAR, ord=2)))


def test_the_known_numbers_of_transformers_and_tasks() -> None:
    assert outcome("scale-norm-shared").right.tolist() == pytest.approx([2, 5, 11], abs=0.02)
    printed, right = fact("fix-norm-activations", "share of contexts won by the rarest")
    assert printed < 0.06 and right == pytest.approx(1 / 6, abs=0.04)
    assert fact("qk-norm-scale", "weight of the matching key") == pytest.approx((0.041, 0.997), abs=0.002)
    assert fact("qk-norm-scale", "initial g")[1] == pytest.approx(11.977, abs=1e-3)
    assert fact("grad-norm-gradients", "sum")[1] == pytest.approx(3)
    printed, right = fact("grad-norm-gradients", "gradient length")  # (.8 / .2) ** .5 once it has settled
    assert printed == pytest.approx(1) and right == pytest.approx(2, abs=0.25)


def test_without_skips_batch_norm_makes_the_gradient_explode() -> None:
    plain, normed = fact("exploding-gradients", "growth")
    assert normed == pytest.approx(1.46, abs=0.015)
    assert normed == pytest.approx(fact("exploding-gradients", "theory")[1], rel=0.01)
    assert plain == pytest.approx(1, abs=0.03)


def test_the_known_numbers_of_class_activation_maps() -> None:
    printed, right = fact("cam-bias", "logit")
    assert right - printed == pytest.approx(float(probe().head.bias[0]))
    printed, right = fact("grad-cam-pp-logit", "sum of the second derivatives")
    assert printed == 0 < right
    assert fact("grad-cam-pp-relu", "minimum")[1] == 0 > fact("grad-cam-pp-relu", "minimum")[0]
    assert fact("score-cam-mask", "lowest value")[0] < -0.1 and fact("score-cam-mask", "lowest value")[1] == 0
