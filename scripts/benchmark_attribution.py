"""Benchmarks of the attribution methods: speed compared with other libraries and loops, memory, and threads."""

from __future__ import annotations

import gc
import importlib.util
import sys
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch
from skimage import data
from torch import Tensor, nn

from normviz.attribution import (
    Probe,
    ablation_cam,
    eigen_cam,
    eigen_grad_cam,
    element_wise_grad_cam,
    grad_cam,
    grad_cam_pp,
    guided_backprop,
    hires_cam,
    layer_cam,
    occlusion,
    rise,
    score_cam,
    xgrad_cam,
)
from normviz.device import device
from normviz.models.bottleneck import BottleneckNet, calibrate_batch_norm
from normviz.models.catalog import load_classifier
from normviz.models.residual import ResidualNet
from scripts.measure import Row, give_back, interleaved, ms, peak_memory, ratio, resident

NET = "ResNet-50 size, 224 px"
LOOPED = 24  # channels for timing a loop of full forward passes; all 2048 take minutes


def resnet50(size: int, frozen: bool = True) -> tuple[nn.Module, Tensor]:
    """A network of ResNet-50's size with settled random weights, and one image (1, 3, size, size)."""
    torch.manual_seed(0)
    model = calibrate_batch_norm(BottleneckNet(), torch.randn(4, 3, size, size)).requires_grad_(not frozen)
    with torch.no_grad():
        model.get_parameter("fc.weight").mul_(10)  # logits some units apart, as a trained network's
    return model.to(device()), torch.randn(1, 3, size, size).to(device())


def one_pass() -> list[Row]:
    """Compare Grad-CAM with a forward pass and a full backward pass, and measure three maps from one probe."""
    frozen, image = resnet50(224)
    trainable, _ = resnet50(224, frozen=False)

    def bare() -> Tensor:
        with torch.no_grad():
            return frozen(image)  # type: ignore[no-any-return]

    def everything() -> object:
        return torch.autograd.grad(trainable(image)[0, 5], list(trainable.parameters()))

    def three() -> object:
        probe = Probe(frozen, image, 5)
        return grad_cam(probe), grad_cam_pp(probe), layer_cam(probe)

    taken = interleaved(
        {"bare": bare, "ours": lambda: grad_cam(Probe(frozen, image, 5)), "three": three, "everything": everything}, 25
    )
    ours = taken["ours"]
    net = "ResNet-50 size, 224 px, float32"
    return [
        Row(f"Grad-CAM / bare forward pass ({net})", ms(ours), ms(taken["bare"]), ratio(ours, taken["bare"]), "≤ 1.2"),
        Row(
            "Backward pass to all parameters / Grad-CAM", ms(ours), ms(taken["everything"]),
            ratio(taken["everything"], ours), "≥ 2.5",
        ),
        Row(
            "Grad-CAM, Grad-CAM++ and LayerCAM / Grad-CAM", ms(taken["three"]), ms(ours),
            ratio(taken["three"], ours), "≤ 1.3",
        ),
    ]  # fmt: skip


def libraries() -> list[Row]:
    """Compare Grad-CAM with torch-cam and Captum, used as documented, on trainable weights."""
    from captum.attr import LayerGradCam
    from torchcam.methods import GradCAM

    model, image = resnet50(224, frozen=False)
    extractor, captum = GradCAM(model, "layer4"), LayerGradCam(model, model.get_submodule("layer4"))
    taken = interleaved(
        {
            "ours": lambda: grad_cam(Probe(model, image, 5, "layer4")),
            "torch-cam": lambda: extractor(5, model(image), normalized=False),
            "captum": lambda: captum.attribute(image, target=5, relu_attributions=True),
        },
        25,
    )
    extractor.remove_hooks()
    ours = taken["ours"]
    return [
        Row(f"Grad-CAM / {name}", ms(ours), ms(taken[key]), ratio(ours, taken[key]), "≤ 1.0")
        for key, name in (("torch-cam", "torch-cam"), ("captum", "Captum"))
    ]


def many_passes() -> list[Row]:
    """Score-CAM against torch-cam on the embedded network, every channel of the last stage."""
    classifier, photo = load_classifier(), torch.from_numpy(data.cat()).permute(2, 0, 1)  # type: ignore[no-untyped-call]
    image = classifier.prepare(photo)
    called = f"embedded network, 384 channels, {image.shape[-1]} px"
    return _score_cam(called, classifier.model, image, "stage4", 5)


def many_large_passes() -> list[Row]:
    """The same at ResNet-50's size, on the 256 channels of its first stage: the last one's 2048 take minutes."""
    model, image = resnet50(224)
    called = "ResNet-50 size, the first stage's 256 channels, 224 px"
    return _score_cam(called, model, image, "layer1", 3)


def _score_cam(called: str, model: nn.Module, image: Tensor, layer: str, repetitions: int) -> list[Row]:
    from torchcam.methods import ScoreCAM

    maps: dict[str, Tensor] = {}
    notes: list[str] = []

    def theirs() -> None:
        with ScoreCAM(model, layer) as extractor, torch.no_grad():
            model(image)
            (maps["theirs"],) = extractor(1, normalized=False)

    def ours() -> None:
        maps["ours"] = score_cam(Probe(model, image, 1, layer))

    def auto() -> None:
        maps["auto"] = score_cam(Probe(model, image, 1, layer), precision="auto", note=notes.append)

    taken = interleaved({"theirs": theirs, "ours": ours, "auto": auto}, repetitions)
    off = float((maps["ours"] - maps["theirs"]).abs().max() / maps["theirs"].abs().max())
    error = float((maps["auto"] - maps["theirs"]).norm() / maps["theirs"].norm())
    used = notes[-1].removeprefix("Scores computed in ").split(";")[0].rstrip(".")
    return [
        Row(f"torch-cam / Score-CAM, float32 ({called})", ms(taken["ours"]), ms(taken["theirs"]),
            ratio(taken["theirs"], taken["ours"]), "≥ 1.2"),
        Row("… largest difference of the maps, share of the maximum", "", "", off, "≤ 1e-5"),
        Row(f"torch-cam / Score-CAM, precision auto, which took {used}", ms(taken["auto"]), ms(taken["theirs"]),
            ratio(taken["theirs"], taken["auto"]), "≥ 2"),
        Row("… relative L2 error of the map", "", "", error, "≤ 0.01"),
    ]  # fmt: skip


def one_pass_for_all() -> list[Row]:
    """Four gradient maps from one probe, and five classes by one backward pass, against as many calls of torch-cam."""
    from torchcam import methods as torchcam

    model, image = resnet50(224, frozen=False)
    theirs = (torchcam.GradCAM, torchcam.GradCAMpp, torchcam.XGradCAM, torchcam.LayerCAM)
    ours = (grad_cam, grad_cam_pp, xgrad_cam, layer_cam)
    classes = (5, 17, 130, 400, 999)

    def call(method: Any, target: int) -> Tensor:
        with method(model, "layer4") as extractor:
            (heatmap,) = extractor(target, model(image), normalized=False)
        return heatmap  # type: ignore[no-any-return]

    def maps() -> list[Tensor]:
        probe = Probe(model, image, 5, "layer4")
        return [method(probe) for method in ours]

    def every_class() -> list[Tensor]:
        return [grad_cam(probe) for probe in Probe(model, image, 5, "layer4").for_classes(classes)]

    taken = interleaved(
        {
            "maps": maps,
            "their maps": lambda: [call(method, 5) for method in theirs],
            "classes": every_class,
            "their classes": lambda: [call(torchcam.GradCAM, target) for target in classes],
        },
        15,
    )
    return [
        Row(f"4 calls of torch-cam / 4 gradient maps from one pass ({NET})", ms(taken["maps"]),
            ms(taken["their maps"]), ratio(taken["their maps"], taken["maps"]), "≥ 3.6"),
        Row("5 calls of torch-cam / Grad-CAM of 5 classes from one pass", ms(taken["classes"]),
            ms(taken["their classes"]), ratio(taken["their classes"], taken["classes"]), "≥ 4.5"),
    ]  # fmt: skip


def ablation() -> list[Row]:
    """Ablation-CAM through what follows the layer alone, against whole forward passes, one per channel."""
    model, image = resnet50(224)
    channels = Probe(model, image, 5, "layer4").activations.shape[1]

    def loop() -> list[Tensor]:
        scores = []
        for k in range(LOOPED):

            def switch_off(module: nn.Module, args: object, output: Tensor, k: int = k) -> Tensor:
                return output.index_fill(1, torch.tensor([k], device=output.device), 0)

            hook = model.get_submodule("layer4").register_forward_hook(switch_off)
            with torch.no_grad():
                scores.append(model(image)[0, 5])
            hook.remove()
        return scores

    taken = interleaved({"ours": lambda: ablation_cam(Probe(model, image, 5, "layer4")), "loop": loop}, 5)
    looped = [seconds * channels / LOOPED for seconds in taken["loop"]]
    return [
        Row(f"A loop of full forward passes / Ablation-CAM, {channels} channels ({NET}; the loop is timed on {LOOPED})",
            ms(taken["ours"]), ms(looped), ratio(looped, taken["ours"]), "≥ 100"),
    ]  # fmt: skip


def decomposition() -> list[Row]:
    """Eigen-CAM by the smaller Gram matrix, against the singular value decomposition of everything."""
    model, image = resnet50(224)
    probe = Probe(model, image, 5, "layer4")
    activations = probe.activations
    cells = activations[0].flatten(1).T  # (h w, K)

    def full() -> Tensor:
        *_, vt = torch.linalg.svd(cells, full_matrices=True)
        projection: Tensor = cells @ vt[0]  # (h w,)
        return projection

    taken = interleaved({"ours": lambda: eigen_cam(probe), "svd": full}, 9)
    ours, theirs = eigen_cam(probe).flatten(), full()
    off = float((ours - theirs * torch.sign(theirs @ ours)).abs().max() / ours.abs().max())
    return [
        Row(f"torch.linalg.svd(full_matrices=True) / Eigen-CAM's decomposition ({'×'.join(map(str, cells.shape))})",
            ms(taken["ours"]), ms(taken["svd"]), ratio(taken["svd"], taken["ours"]), "≥ 50"),
        Row("… largest difference of the maps, share of the maximum", "", "", off, "≤ 1e-4"),
    ]  # fmt: skip


def pytorch_grad_cam() -> list[Row]:
    """Eight maps from one probe against eight calls of pytorch-grad-cam, where it is installed."""
    if not (importlib.util.find_spec("pytorch_grad_cam") and importlib.util.find_spec("torchvision")):
        print(
            "attribution: pytorch-grad-cam is not installed (it needs torchvision), so it is left out", file=sys.stderr
        )
        return []
    import pytorch_grad_cam as library
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    model, image = resnet50(224, frozen=False)
    pairs: list[tuple[Any, Callable[[Probe], Tensor]]] = [
        (library.GradCAM, grad_cam), (library.GradCAMPlusPlus, grad_cam_pp), (library.XGradCAM, xgrad_cam),
        (library.LayerCAM, layer_cam), (library.HiResCAM, hires_cam),
        (library.GradCAMElementWise, element_wise_grad_cam), (library.EigenCAM, eigen_cam),
        (library.EigenGradCAM, eigen_grad_cam),
    ]  # fmt: skip
    layer, targets = [model.get_submodule("layer4")], [ClassifierOutputTarget(5)]

    def theirs() -> None:
        for method, _ in pairs:
            with method(model=model, target_layers=layer) as cam:
                cam(input_tensor=image, targets=targets)

    def ours() -> None:
        probe = Probe(model, image, 5, "layer4")
        for _, method in pairs:
            method(probe)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs
        taken = interleaved({"ours": ours, "theirs": theirs}, 5)
    return [
        Row(f"8 calls of pytorch-grad-cam / 8 maps from one pass ({NET})", ms(taken["ours"]), ms(taken["theirs"]),
            ratio(taken["theirs"], taken["ours"]), "≥ 15"),
    ]  # fmt: skip


# Memory and threads


def memory() -> list[Row]:
    """Measure whether the memory of Score-CAM, RISE and occlusion depends on the chunk size only."""
    model, image = resnet50(112)
    runs: dict[str, Callable[[int, bool], object]] = {
        "Score-CAM, 64 / 256 channels": lambda chunk, many: score_cam(
            Probe(model, image, 5, "layer1" if many else "maxpool"), chunk=chunk
        ),
        "RISE, 64 / 256 masks": lambda chunk, many: rise(Probe(model, image, 5), 256 if many else 64, chunk=chunk),
        "Occlusion, 64 / 256 squares": lambda chunk, many: occlusion(
            Probe(model, image, 5), window=0.2, stride=0.8 / 15 if many else 0.8 / 7, chunk=chunk
        ),
    }
    rows = []
    for name, run in runs.items():
        run(16, False)  # what is made once is made
        try:
            few, many, wide = (
                peak_memory(lambda c=chunk, m=many, run=run: run(c, m))  # type: ignore[misc]
                for chunk, many in ((16, False), (16, True), (64, True))
            )
        except OSError as error:
            print(
                f"reliability: memory is left out, as this system does not tell its highest ({error})", file=sys.stderr
            )
            return []
        rows += [
            Row(f"Memory at its highest: {name}, chunk 16: many / few", f"{many:.0f} MB", f"{few:.0f} MB",
                many / few, "≤ 1.2"),
            Row("… many, chunk 64 / chunk 16", f"{wide:.0f} MB", f"{many:.0f} MB", wide / many, "≤ 4.4"),
        ]  # fmt: skip
    return rows


SMALL: tuple[tuple[str, Callable[[Probe], Tensor]], ...] = (
    ("Grad-CAM", grad_cam), ("Grad-CAM++", grad_cam_pp), ("Eigen-CAM", eigen_cam), ("Ablation-CAM", ablation_cam),
    ("guided backpropagation", guided_backprop), ("Score-CAM", score_cam),
    ("RISE", lambda probe: rise(probe, 16, 4)), ("occlusion", lambda probe: occlusion(probe, 0.5, 0.25)),
)  # fmt: skip
NAMES = ", ".join(name for name, _ in SMALL)


def small_network() -> tuple[nn.Module, Tensor]:
    """Create a small, fast residual network and two images (2, 3, 32, 32)."""
    torch.manual_seed(0)
    net = calibrate_batch_norm(ResidualNet(5, widths=(8, 8, 16, 16), blocks=(1, 1, 1, 1)), torch.randn(8, 3, 32, 32))
    return net.to(device()), torch.randn(2, 3, 32, 32).to(device())


def threads(count: int = 8, calls: int = 1000) -> list[Row]:
    """Compare maps computed by many threads on one network with those of a single thread."""
    net, images = small_network()
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    expected = [method(Probe(net, images, 1)) for _, method in SMALL]
    wrong, failed = [0] * count, list[BaseException]()

    def work(thread: int) -> None:
        try:
            for call in range(calls):
                index = (call + thread) % len(SMALL)
                wrong[thread] += not torch.equal(SMALL[index][1](Probe(net, images, 1)), expected[index])
        except BaseException as error:
            failed.append(error)
            raise

    started = [threading.Thread(target=work, args=(thread,)) for thread in range(count)]
    for one in started:
        one.start()
    for one in started:
        one.join()
    torch.set_num_threads(before)
    if failed:
        raise RuntimeError("a thread failed") from failed[0]
    return [Row(f"{count} threads, {calls} calls each on one network ({NAMES}): maps that differ from one thread's",
                "", "", sum(wrong), "≤ 0")]  # fmt: skip


def growth(calls: int = 1000) -> list[Row]:
    """Measure memory growth after many calls on one network."""
    net, images = small_network()

    def run(times: int) -> None:
        for call in range(times):
            SMALL[call % len(SMALL)][1](Probe(net, images, 1))
            with suppress(ValueError):
                Probe(net, images, 99)  # failed calls must not keep memory either

    def kept() -> float:
        gc.collect()
        if device().type == "cuda":
            return torch.cuda.memory_allocated() / 2**20
        give_back()
        return resident()

    run(200)
    try:
        before = kept()
    except OSError as error:
        print(f"reliability: growth is left out, as this system does not tell ({error})", file=sys.stderr)
        return []
    run(calls)
    after = kept()
    return [Row(f"Memory kept after {calls} calls more on one network ({NAMES}), MB", f"{after:.1f} MB",
                f"{before:.1f} MB", after - before, "≤ 2")]  # fmt: skip


SPEED = [
    one_pass, libraries, one_pass_for_all, ablation, decomposition, many_passes, many_large_passes, pytorch_grad_cam,
]  # fmt: skip
RELIABILITY = [memory, threads, growth]
