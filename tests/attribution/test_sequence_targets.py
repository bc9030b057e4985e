"""Boxes, tokens, pixels and embeddings as targets, with small random transformers networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from normviz.attribution import Probe, grad_cam, layer_cam, layers, saliency
from normviz.attribution.targets import (
    BoxScore,
    Region,
    Score,
    Similarity,
    TokenLogProbability,
    embedding_of,
    strongest_box,
)
from normviz.models.fixed_inputs import FixedInputs, tokens

pytestmark = pytest.mark.usefixtures("one_thread")
SIDE = 32
SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
PATCHES = {"image_size": SIDE, "patch_size": 8}


def images(count: int = 2) -> Tensor:
    return torch.randn(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(5))


def ready(model: Any) -> nn.Module:
    """A model with large random weights, in inference mode, with unfused attention."""
    generator = torch.Generator().manual_seed(0)
    for values in model.parameters():
        if values.ndim > 1:
            torch.nn.init.normal_(values, 0.0, (1.5 / values[0].numel()) ** 0.5, generator=generator)
    model.set_attn_implementation("eager")
    return model.eval().requires_grad_(False)  # type: ignore[no-any-return]


def detector() -> tuple[nn.Module, Score]:
    import transformers as tf

    config = tf.YolosConfig(
        **SMALL, image_size=[SIDE, SIDE], patch_size=8, num_detection_tokens=5, num_labels=3,
        use_mid_position_embeddings=False,
    )  # fmt: skip
    model = ready(tf.YolosForObjectDetection(config))
    with torch.no_grad():
        return model, strongest_box(model(pixel_values=images()))


def captioner() -> tuple[nn.Module, Score]:
    """A vision transformer and GPT-2, with the third token after two as the target."""
    import transformers as tf

    encoder = tf.ViTConfig(**SMALL, **PATCHES)
    decoder = tf.GPT2Config(n_embd=16, n_layer=2, n_head=2, vocab_size=20, n_positions=16)
    config = tf.VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    model = ready(tf.VisionEncoderDecoderModel(config))
    return FixedInputs(model, decoder_input_ids=tokens(1, 7, 4), use_cache=False), TokenLogProbability(11, position=1)


def answerer() -> tuple[nn.Module, Score]:
    """GIT with a question after the image, and the first token of the answer as the target."""
    import transformers as tf

    config = tf.GitConfig(**SMALL, vision_config={**SMALL, **PATCHES}, vocab_size=20, max_position_embeddings=16)
    model = ready(tf.GitForCausalLM(config))
    return FixedInputs(model, input_ids=tokens(1, 5, 9, 2), use_cache=False), TokenLogProbability(3)


def segmenter() -> tuple[nn.Module, Score]:
    import transformers as tf

    config = tf.SegformerConfig(
        num_encoder_blocks=2, depths=[1, 1], sr_ratios=[2, 1], hidden_sizes=[8, 16], patch_sizes=[7, 3], strides=[4, 2],
        num_attention_heads=[1, 2], mlp_ratios=[2, 2], decoder_hidden_size=16, num_labels=3,
    )  # fmt: skip
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[:4] = True
    return ready(tf.SegformerForSemanticSegmentation(config)), Region(1, mask)


def embedder() -> tuple[nn.Module, Score]:
    import transformers as tf

    model = ready(tf.ViTModel(tf.ViTConfig(**SMALL, **PATCHES)))
    with torch.no_grad():
        return model, Similarity(embedding_of(model(pixel_values=images(3)[2:]))[0])


def clip_embedder() -> tuple[nn.Module, Score]:
    import transformers as tf

    config = tf.CLIPVisionConfig(**SMALL, **PATCHES, projection_dim=8)
    model = ready(tf.CLIPVisionModelWithProjection(config))
    with torch.no_grad():
        return model, Similarity(embedding_of(model(pixel_values=images(3)[2:]))[0])


KINDS: dict[str, Callable[[], tuple[nn.Module, Score]]] = {
    "a detector's box": detector,
    "a word of a caption": captioner,
    "a word of an answer": answerer,
    "pixels of a class": segmenter,
    "likeness to a photo": embedder,
    "likeness to a photo (CLIP)": clip_embedder,
}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def made(kind: str) -> tuple[nn.Module, Score]:
    """A network with fixed random weights, and its target."""
    torch.manual_seed(0)
    return KINDS[kind]()


def test_its_gradient_is_that_of_plain_autograd(kind: str) -> None:
    twin, score = made(kind)
    x = images().requires_grad_()
    values = score(twin(x))  # (N,)
    (expected,) = torch.autograd.grad(values.sum(), x)
    probe = Probe(made(kind)[0], images(), score)
    assert values.shape == (2,) and torch.allclose(probe.score, values.detach(), atol=1e-6)
    assert torch.allclose(probe.input_gradient, expected, rtol=1e-4, atol=1e-6 * float(expected.abs().max()))
    assert expected.abs().amax(dim=(1, 2, 3)).min() > 0 and (values[0] - values[1]).abs() > 1e-6


def test_a_layer_of_the_picture_is_found_and_explained(kind: str) -> None:
    model, score = made(kind)
    found = layers(model, images())
    assert any(height * width > 1 for _, (_, height, width) in found)
    probe = Probe(model, images(), score)
    step = torch.zeros_like(probe.activations)
    step[0] = probe.gradients[0] / probe.gradients[0].norm()
    ahead = probe.score_from_layer(probe.activations[:1] + 1e-2 * step[:1])
    behind = probe.score_from_layer(probe.activations[:1] - 1e-2 * step[:1])
    assert float(ahead - behind) / 2e-2 == pytest.approx(float(probe.gradients[0].norm()), rel=0.02)
    for method in (grad_cam, layer_cam, saliency):
        heat = method(probe)
        assert heat.ndim == 3 and len(heat) == 2 and torch.isfinite(heat).all()
    assert saliency(probe).amax(dim=(1, 2)).min() > 0


# ------------------------------------------------------------------------------------------ what they compute
class Output:
    def __init__(self, logits: Tensor) -> None:
        self.logits = logits


LOGITS = torch.tensor([[[2.0, 0.0, 1.0], [0.0, 3.0, 0.0]], [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]])  # (2, 2, 3)


def test_a_box_s_score_is_its_softmax_with_nothing_among_the_classes() -> None:
    expected = torch.tensor([3.0, 0.0]).exp() / (torch.tensor([3.0, 0.0]).exp() + torch.tensor([2.0, 1 + torch.e]))
    assert torch.allclose(BoxScore(1, 1)(Output(LOGITS)), expected)
    assert strongest_box(Output(LOGITS)) == BoxScore(1, 1)
    assert strongest_box({"logits": LOGITS[1:]}) == BoxScore(1, 0)
    assert str(BoxScore(1, 0)) == "class 0 in box 1"
    for score, sentence in (
        (BoxScore(2, 0), "there is no box 2: the model returned 2, 0 to 1"),
        (BoxScore(0, 2), "there is no class 2: this model's are 0 to 1"),  # the last one means "no object"
    ):
        with pytest.raises(ValueError, match=sentence):
            score(Output(LOGITS))
    with pytest.raises(
        ValueError, match=r"requires logits \(N, boxes, classes \+ 1\); the model returned shape \(2, 3\)"
    ):
        BoxScore(0, 0)(LOGITS[0])


def test_a_token_s_log_probability() -> None:
    expected = torch.stack([3 - (torch.e**3 + torch.tensor(2.0)).log(), -(torch.e + torch.tensor(2.0)).log()])
    assert torch.allclose(TokenLogProbability(1)(Output(LOGITS)), expected)
    assert torch.allclose(TokenLogProbability(1, 1)(Output(LOGITS)), expected)
    everything = torch.stack([TokenLogProbability(token, 0)(Output(LOGITS)) for token in range(3)])
    assert torch.allclose(everything.exp().sum(dim=0), torch.ones(2))
    assert str(TokenLogProbability(1)) == "token 1 next" and str(TokenLogProbability(1, 0)) == "token 1 at position 0"
    with pytest.raises(ValueError, match="there is no token 3: this model's are 0 to 2"):
        TokenLogProbability(3)(Output(LOGITS))
    with pytest.raises(ValueError, match="there is no position 4: the model returned 2, 0 to 1"):
        TokenLogProbability(0, 4)(Output(LOGITS))
    with pytest.raises(ValueError, match=r"requires logits \(N, positions, tokens\); the model returned a str"):
        TokenLogProbability(0)("words")


# -------------------------------------------------------------------------------------------- bound inputs
class Both(nn.Module):
    """Adds one number per image from its second input."""

    def forward(self, picture: Tensor, number: Tensor, twice: bool = False) -> Tensor:
        assert len(number) == len(picture)
        return picture.mean(dim=(2, 3)) + number * (2 if twice else 1)  # (N, 3)


def test_other_inputs_are_repeated_for_every_image() -> None:
    number = torch.tensor([[1.0, 2.0, 3.0]])
    bound = FixedInputs(Both(), "picture", number=number, twice=True)
    number.zero_()  # the module has its own copy
    x = images(3)
    assert torch.allclose(bound(x), x.mean(dim=(2, 3)) + torch.tensor([2.0, 4.0, 6.0]))
    assert bound.to(torch.float64).input_number.dtype == torch.float64
    assert not list(bound.state_dict())
    with pytest.raises(ValueError, match=r"number must hold one sample, \(1, ...\), .* received shape \(2, 3\)"):
        FixedInputs(Both(), "picture", number=torch.zeros(2, 3))


def test_without_its_other_inputs_a_network_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="a module that fixes the other inputs"):
        Probe(Both(), images(), lambda output: output[:, 0])
