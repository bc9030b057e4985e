"""Image classifiers from the Hub: small random ones are read, run and explained; invalid ones are rejected."""

from __future__ import annotations

import json
import re
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from normviz.attribution import Probe, layers
from normviz.device import device
from normviz.images import decode
from normviz.models.catalog import load_classifier, models
from normviz.models.classifier import Classifier
from normviz.models.curated import CURATED
from normviz.models.download import hub_id
from normviz.models.hub import Logits, read_folder
from normviz.registry import Attribution, Value, methods
from normviz.samples import load_sample
from tests.support.checkpoints import CLASSES, FAMILIES, SIDE, write_checkpoint
from tests.support.comparison import identical

pytestmark = pytest.mark.usefixtures("one_thread")
NAMES = ("tabby, tabby cat", "crane (1)", "crane (2)", "coffee mug")
SMALL = {"samples": 2, "masks": 8, "window": 0.5, "stride": 0.25}  # fewer evaluations
RELU_RULES = {"deconvnet", "guided_backprop", "guided_grad_cam"}
WITH_RELU = {"resnet", "bit", "regnet"}
NO_RELU = {  # methods without a ReLU, so that their map is not all 0
    "cam", "eigen_cam", "eigen_grad_cam", "full_grad", "hires_cam", "integrated_gradients", "kpca_cam", "occlusion",
    "rise", "saliency", "smooth_grad",
}  # fmt: skip
POOLED = {"resnet", "bit", "regnet", "mobilenet_v2", "efficientnet", "swin"}  # maps, their mean, one linear layer


class Checkpoints(dict[str, Path]):
    """The folder of a network of each family, written on first use."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __missing__(self, family: str) -> Path:
        self[family] = write_checkpoint(self.root / family, family)
        return self[family]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Checkpoints:
    return Checkpoints(tmp_path_factory.mktemp("checkpoints"))


@pytest.fixture(scope="module")
def photo() -> Tensor:
    return decode(load_sample("chelsea"))  # (3, 300, 451)


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def classifier(family: str, folders: Checkpoints) -> Classifier:
    return read_folder(folders[family], family, family)


# ------------------------------------------------------------------------------------------- what is read
def test_it_answers_as_transformers_does(
    family: str, classifier: Classifier, folders: Checkpoints, photo: Tensor
) -> None:
    import transformers as tf

    processor = tf.AutoImageProcessor.from_pretrained(folders[family], backend="pil")
    model = tf.AutoModelForImageClassification.from_pretrained(folders[family])  # with its default attention
    picture = Image.fromarray(photo.permute(1, 2, 0).numpy())
    with torch.no_grad():
        inputs = processor(picture, return_tensors="pt")
        expected = model(**inputs).logits[0].softmax(dim=0)  # (classes,)
    torch.testing.assert_close(classifier.prepare(photo).cpu(), inputs["pixel_values"], rtol=0, atol=1e-6)
    assert torch.allclose(classifier.probabilities(photo), expected, atol=1e-5)
    assert expected.max() - expected.min() > 0.01  # otherwise the comparison is meaningless


def test_its_facts(classifier: Classifier, photo: Tensor) -> None:
    assert classifier.classes == NAMES and classifier.threshold is None and classifier.size == SIDE
    assert classifier.index("coffee_mug") == 3 and classifier.index("tabby cat") == 0 and classifier.index("tabby") == 0
    with pytest.raises(ValueError, match="has no class 'crane'"):
        classifier.index("crane")
    assert type(classifier.model) is Logits and not classifier.model.training
    assert not any(p.requires_grad for p in classifier.model.parameters())
    verdict = classifier.verdict(classifier.probabilities(photo))
    assert verdict.known and verdict.text.startswith(f"best guess {NAMES[verdict.index]}, ")


def test_mean_and_std_turn_its_input_back_into_the_photo(classifier: Classifier) -> None:
    colors = torch.tensor([200, 120, 40], dtype=torch.uint8)
    plain = colors.view(3, 1, 1).expand(3, 90, 90)
    mean, std = torch.tensor(classifier.mean).view(3, 1, 1), torch.tensor(classifier.std).view(3, 1, 1)
    shown = classifier.prepare(plain)[0].cpu() * std + mean  # (3, h, w)
    assert torch.allclose(shown, colors.view(3, 1, 1) / 255, atol=2e-3)


@pytest.mark.parametrize(("height", "width"), [(300, 451), (451, 300), (90, 90), (1024, 700), (40, 333)])
def test_the_part_of_the_photo_that_it_sees(height: int, width: int, folders: Checkpoints) -> None:
    whole = read_folder(folders["vit"], "vit", "vit")
    assert whole.box(height, width) == (0, 0, height, width)
    cropping = read_folder(folders["bit"], "bit", "bit")
    scale = min(height, width) / 72  # the shorter side becomes 72 pixels, of which the middle SIDE remain
    box = cropping.box(height, width)
    expected = ((height - SIDE * scale) / 2, (width - SIDE * scale) / 2, SIDE * scale, SIDE * scale)
    assert box == pytest.approx(expected, abs=1 + 0.012 * max(height, width))
    image = torch.zeros(3, height, width, dtype=torch.uint8)
    assert cropping.view(image).shape == (3, *box[2:]) and whole.view(image).shape == image.shape


def test_a_mark_in_the_cut_off_edge_is_outside_the_view(folders: Checkpoints) -> None:
    cropping = read_folder(folders["bit"], "bit", "bit")
    top, left, height, width = cropping.box(300, 451)
    plain = torch.full((3, 300, 451), 90, dtype=torch.uint8)
    beside, inside = plain.clone(), plain.clone()
    beside[:, :, : left - 12] = 255
    inside[:, top + 20 : top + height - 20, left + 20 : left + width - 20] = 255
    assert identical(cropping.prepare(beside), cropping.prepare(plain))
    assert not identical(cropping.prepare(inside), cropping.prepare(plain))


# --------------------------------------------------------------------------------------- what is explained
def test_layers_have_readable_names_and_maps(family: str, classifier: Classifier, photo: Tensor) -> None:
    found = dict(layers(classifier.model, classifier.prepare(photo)))
    assert len(found) > 5 and all(len(shape) == 3 for shape in found.values())
    assert all(name.startswith("net.") for name in found)
    if family in ("vit", "deit", "dinov2_with_registers"):  # the 16 patches alone, without class or register tokens
        assert (16, 4, 4) in found.values()


def cheap(method: Attribution) -> dict[str, Value]:
    """Options that limit a method's cost."""
    settings: dict[str, Value] = {knob.name: SMALL[knob.name] for knob in method.knobs if knob.name in SMALL}
    if any(knob.name == "steps" for knob in method.knobs):
        settings["steps"] = 4
    return settings


@pytest.mark.parametrize("method", methods("attribution"), ids=lambda method: method.name)
def test_every_method_explains_it_or_says_why_not(
    family: str, method: Attribution, classifier: Classifier, photo: Tensor
) -> None:
    images = classifier.prepare(photo)  # (1, 3, h, w)
    probe = Probe(classifier.model, images)
    try:
        raw = method.function(probe, **cheap(method))
    except ValueError as refusal:
        text = str(refusal)
        assert "\n" not in text and len(text) > 30
        if method.name in RELU_RULES:
            assert family not in WITH_RELU and ("ReLU" in text or "relu" in text.lower())
        else:
            assert method.name == "cam" and family not in POOLED, text
        return
    assert torch.isfinite(raw).all() and len(raw) == 1
    size, cells = tuple(raw.shape[-2:]), tuple(probe.activations.shape[2:])
    if method.takes("layers"):  # it chooses its layers and has the resolution of the finest
        assert size in {shape[1:] for _, shape in layers(classifier.model, images)} and size >= cells
    else:
        assert size == (tuple(images.shape[2:]) if method.level == "input" else cells)
    if method.name in NO_RELU:
        assert raw.any()  # the ReLU of other methods may remove everything in a random network
    assert method.name not in RELU_RULES or family in WITH_RELU | {"mobilenet_v2"}


def test_the_gradient_is_that_of_transformers(
    family: str, classifier: Classifier, folders: Checkpoints, photo: Tensor
) -> None:
    import transformers as tf

    model = tf.AutoModelForImageClassification.from_pretrained(folders[family], attn_implementation="eager")
    x = classifier.prepare(photo).cpu().requires_grad_()
    (expected,) = torch.autograd.grad(model(pixel_values=x).logits[0, 2], x)
    found = Probe(classifier.model, classifier.prepare(photo), 2).input_gradient.cpu()
    assert torch.allclose(found, expected, rtol=1e-3, atol=1e-5 * float(expected.abs().max()))
    assert expected.abs().max() > 0


def test_threads_that_ask_for_one_folder_share_one_network(folders: Checkpoints) -> None:
    found, folder = list[Classifier](), folders["swin"]
    threads = [threading.Thread(target=lambda: found.append(read_folder(folder, "x", "x"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and len({id(one.model) for one in found}) == 1


def test_folders_are_loaded_by_their_path_and_offered_where_the_server_says_so(
    folders: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, beside = folders["resnet"], folders["vit"]
    by_path = load_classifier(str(path))
    assert by_path.name == str(path) and by_path.title == "resnet"
    assert not any(entry.name.startswith("local:") for entry in models())
    with pytest.raises(ValueError, match="there is no classifier 'local:resnet'"):
        load_classifier("local:resnet")
    monkeypatch.setenv("NORMVIZ_LOCAL_MODELS", str(path.parent))
    assert {"local:resnet", f"local:{beside.name}"} <= {entry.name for entry in models()}
    assert load_classifier("local:resnet").model is by_path.model
    for escape in ("local:../x", "local:/etc", "local:"):
        with pytest.raises(ValueError, match=r"there is no classifier|is named owner/name"):
            load_classifier(escape)


# ------------------------------------------------------------------------------------------ what is refused
def edited(source: Path, target: Path, **changes: object) -> Path:
    """A copy of a checkpoint with a changed configuration; None removes a value."""
    folder = shutil.copytree(source, target)
    config = json.loads((folder / "config.json").read_text())
    config = {key: value for key, value in {**config, **changes}.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def refusal(folder: Path) -> str:
    """The error message for a folder, checked to be one sentence."""
    with pytest.raises(ValueError) as caught:
        read_folder(folder, "it", "it")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    return str(caught.value)


@pytest.fixture
def copy(folders: Checkpoints, tmp_path: Path) -> Path:
    return shutil.copytree(folders["resnet"], tmp_path / "copy")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.99])
def test_a_truncated_file(copy: Path, share: float) -> None:
    file = copy / "model.safetensors"
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    assert re.match(r"model.safetensors of it is truncated or damaged \(.*\); download it again", refusal(copy))


def test_only_a_pickle(copy: Path) -> None:
    import os
    import pickle

    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(copy / "opened"),)

    (copy / "model.safetensors").unlink()
    (copy / "pytorch_model.bin").write_bytes(pickle.dumps(Trap()))
    assert refusal(copy).startswith("it stores its weights only as pickle")
    assert not (copy / "opened").exists()


def test_no_weights_or_a_part_of_them_missing(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    assert refusal(copy) == "it lacks model.safetensors with its weights; download it again"
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "../model-00002-of-00002.safetensors"}}
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    missing = "model-00002-of-00002.safetensors, model-00001-of-00002.safetensors"
    assert refusal(copy) == f"it lacks {missing} with its weights; download it again"


def test_a_text_model_or_one_that_needs_its_own_code(folders: Checkpoints, tmp_path: Path) -> None:
    text = edited(folders["resnet"], tmp_path / "text", model_type="bert", architectures=["BertModel"])
    assert "is a network of type 'bert' and does not classify images" in refusal(text)
    code = edited(folders["resnet"], tmp_path / "code", model_type="mine", auto_map={"AutoModel": "code.Mine"})
    (code / "code.py").write_text("raise SystemExit('run')")
    assert refusal(code).startswith("it requires code of its own (mine)")
    blank = edited(folders["resnet"], tmp_path / "blank", model_type=None)
    assert "has a configuration without model_type" in refusal(blank)


def test_code_beside_a_known_network_is_not_run(folders: Checkpoints, tmp_path: Path) -> None:
    folder = edited(
        folders["resnet"], tmp_path / "code",
        auto_map={"AutoModelForImageClassification": "code.Mine", "AutoConfig": "code.C"},
    )  # fmt: skip
    (folder / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()")
    assert read_folder(folder, "it", "it").classes == NAMES
    assert not (tmp_path / "ran").exists()


def test_no_preprocessor_or_none_that_can_be_used(copy: Path) -> None:
    file = copy / "preprocessor_config.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, "image_mean": [0.5, 0.5], "image_std": [0.5, 0.5]}))
    assert refusal(copy).startswith("it: its preprocessor cannot read a photo: ")
    file.write_text(json.dumps({**content, "image_processor_type": "NoSuchImageProcessor"}))
    assert refusal(copy).startswith("it cannot be read: ")
    file.write_text("{")
    assert refusal(copy).startswith("it cannot be read: ")
    file.unlink()
    assert "it has no preprocessor_config.json" in refusal(copy)


def test_no_labels_or_the_wrong_ones(folders: Checkpoints, tmp_path: Path) -> None:
    source = folders["resnet"]
    nothing = edited(source, tmp_path / "none", id2label=None, label2id=None)
    assert refusal(nothing) == "it has no class names; its config.json needs id2label"
    gap = edited(source, tmp_path / "gap", id2label={"0": "a", "2": "b"})
    assert "must have the keys 0, 1, 2, ... without gaps" in refusal(gap)
    more = edited(source, tmp_path / "more", id2label={str(i): f"kind {i}" for i in range(7)})
    assert "it cannot be read: " in refusal(more) or "lacks" in refusal(more)


def test_weights_that_are_nan_missing_or_of_another_network(copy: Path, folders: Checkpoints) -> None:
    file = copy / "model.safetensors"
    weights = load_file(file)
    first = next(key for key in weights if "convolution.weight" in key)
    spoiled = {**weights, first: weights[first].clone()}
    spoiled[first][0, 0, 0, 0] = torch.nan
    save_file(spoiled, file, {"format": "pt"})
    assert refusal(copy) == (f"the weights of it contain NaN or infinity ({first}); download or train it again")
    headless = {key: value for key, value in weights.items() if not key.startswith("classifier")}
    save_file(headless, file, {"format": "pt"})
    assert refusal(copy).startswith("it is not a complete classifier: its file lacks 2 weights (classifier.1.bias")
    shutil.copy(folders["vit"] / "model.safetensors", file)
    assert refusal(copy).startswith("it is not a complete classifier: its file lacks ")


def test_no_folder_of_a_network(tmp_path: Path) -> None:
    assert refusal(tmp_path) == "it has no config.json, so it is not the folder of a transformers network"
    (tmp_path / "config.json").write_text("[1, 2]")
    assert refusal(tmp_path) == "config.json of it must contain a JSON object; it contains a list"
    (tmp_path / "config.json").write_bytes(b"\xff\xfe{")
    assert refusal(tmp_path) == "config.json of it cannot be read as JSON; download it again"


def test_a_failure_is_not_kept(copy: Path) -> None:
    file = copy / "model.safetensors"
    content = file.read_bytes()
    file.write_bytes(content[:100])
    refusal(copy)
    file.write_bytes(content)
    assert read_folder(copy, "it", "it").model(torch.zeros(1, 3, SIDE, SIDE, device=device())).shape == (
        1,
        len(CLASSES),
    )


# --------------------------------------------------------------------------------------------- the curated list
def test_the_curated_networks_weigh_what_the_list_says() -> None:
    """Their published architectures, without weights: four bytes per parameter."""
    import transformers as tf

    names = {i: str(i) for i in range(1000)}
    tiny = {"hidden_size": 192, "num_hidden_layers": 12, "num_attention_heads": 3, "intermediate_size": 768}
    built = {
        "microsoft/resnet-18": tf.ResNetConfig(
            hidden_sizes=[64, 128, 256, 512], depths=[2, 2, 2, 2], layer_type="basic", id2label=names
        ),
        "google/bit-50": tf.BitConfig(id2label=names),
        "google/mobilenet_v2_1.0_224": tf.MobileNetV2Config(id2label={i: str(i) for i in range(1001)}),
        "WinKawaks/vit-tiny-patch16-224": tf.ViTConfig(**tiny, id2label=names),
        "google/vit-base-patch16-224": tf.ViTConfig(id2label=names),
        "microsoft/swin-tiny-patch4-window7-224": tf.SwinConfig(id2label=names),
        "facebook/convnextv2-tiny-1k-224": tf.ConvNextV2Config(id2label=names),
    }
    assert [one.id for one in CURATED] == list(built)
    for one in CURATED:
        config = built[one.id]
        with torch.device("meta"):
            model = getattr(tf, type(config).__name__.replace("Config", "ForImageClassification"))(config)
        size = 4 * sum(p.numel() for p in model.parameters())
        assert size / 1e6 == pytest.approx(one.megabytes, rel=0.02), one.id
        assert hub_id(one.id) == one.id and one.teaches.endswith(".")
