"""One forward pass through a network, and everything that a method of attribution reads from it."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from normviz.attribution.network import Shape, has_maps, in_words, layer_name, read_logits, recording, scan
from normviz.attribution.private import private_copy
from normviz.attribution.relu import ReluRule, Rule


class Head(NamedTuple):
    """The linear layer of a network of convolutions, global average pooling and one linear layer."""

    name: str
    weight: Tensor  # (classes, K)
    bias: Tensor  # (classes,)


class Probe:
    """A network, images, a class and a layer; logits, activations and gradients, each computed once and kept.

    The network is never changed: the work is done on a private copy that shares its weights. It is read in
    inference mode, frozen or not, on the device it is on. What a probe returns is shared: read, do not write.

    Args:
        model: maps images (N, C, H, W) to logits (N, classes), or to an object or dictionary with `logits`.
        images: (N, C, H, W), floating point, as the model expects them.
        target: the class to explain, for all images or (N,) one for each; None: each image's top class.
        layer: the dotted name of a layer, or the module itself; None: the last one with feature maps of more
            than one cell. A layer that runs several times is read at its last run on feature maps.

    Raises:
        ValueError: images, class or layer that the model does not have, or a model that cannot be read.
    """

    def __init__(
        self,
        model: nn.Module,
        images: Tensor,
        target: int | Tensor | None = None,
        layer: str | nn.Module | None = None,
    ) -> None:
        self._pass = _Pass(model, images, layer)
        self._target = _checked_target(target, len(images), self._pass.scan.classes, self._pass.images.device)

    def for_target(self, target: int | Tensor | None) -> Probe:
        """A probe of another class that shares this one's forward pass."""
        other = Probe.__new__(Probe)
        other._pass = self._pass
        other._target = _checked_target(target, len(self.images), self.classes, self.images.device)
        return other

    @property
    def model(self) -> nn.Module:
        """The network as it was given."""
        return self._pass.model

    @property
    def images(self) -> Tensor:
        """The images: (N, C, H, W)."""
        return self._pass.images

    @property
    def classes(self) -> int:
        """The number of classes."""
        return self._pass.scan.classes

    @property
    def layer(self) -> str:
        """The dotted name of the layer that is read."""
        return self._pass.layer

    @property
    def logits(self) -> Tensor:
        """The logits: (N, classes)."""
        return self._pass.logits()

    @cached_property
    def target(self) -> Tensor:
        """The class of each image: (N,), int64."""
        if self._target is not None:
            return self._target
        with torch.inference_mode(False):
            return self.logits.argmax(dim=1)  # (N,)

    @property
    def activations(self) -> Tensor:
        """The layer's output A: (N, K, h, w)."""
        return self._pass.run().activations.detach()

    @cached_property
    def gradients(self) -> Tensor:
        """dS_c / dA, the gradient of each image's target logit: (N, K, h, w), in logits per unit of A."""
        return self._pass.tail_gradient(self.target)

    @cached_property
    def input_gradient(self) -> Tensor:
        """dS_c / dx: (N, C, H, W), in logits per unit of the input."""
        return self._input_gradient(None)

    def backprop(self, rule: Rule) -> Tensor:
        """What arrives at the input (N, C, H, W) when the ReLUs propagate by a rule.

        Args:
            rule: "deconvnet" (relu of what arrives) or "guided" (the same, where the ReLU was open too).

        Raises:
            ValueError: no ReLU lies on the way.
        """
        return self._deconvnet if rule == "deconvnet" else self._guided

    @cached_property
    def _deconvnet(self) -> Tensor:
        return self._input_gradient("deconvnet")

    @cached_property
    def _guided(self) -> Tensor:
        return self._input_gradient("guided")

    def _input_gradient(self, rule: Rule | None) -> Tensor:
        mode = ReluRule(rule) if rule else None
        with self._pass.net() as net, recording():
            leaf = self.images.clone().requires_grad_()  # (N, C, H, W)
            with mode or nullcontext():
                logits = read_logits(net, leaf.clone())  # (N, classes)
            if mode and not mode.seen:
                uses = f"; it uses {', '.join(sorted(mode.others))}, for which the rule is not defined"
                raise ValueError(
                    f"{rule} needs a network with ReLUs, and none was seen between the images and the logits"
                    f"{uses if mode.others else ''}: choose saliency instead"
                )
            self._pass.offer(logits.detach())
            return _gradient(logits, self.target, leaf, "the images")  # (N, C, H, W)

    @cached_property
    def head(self) -> Head:
        """The linear layer that reads the pooled activations: logits = W mean(A) + b, which is checked.

        Raises:
            ValueError: the network does not end in global average pooling and one linear layer.
        """
        channels = self.activations.shape[1]
        rule = "CAM needs a network of convolutions, global average pooling and one linear layer"
        with self._pass.net() as net, torch.inference_mode(False), torch.no_grad():
            pooled = self.activations.mean(dim=(2, 3))  # (N, K)
            linear = [(n, m) for n, m in net.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)]
            fitting = [(n, m) for n, m in linear if m.weight.shape[:2].numel() == m.weight.numel()]
            fitting = [(n, m) for n, m in fitting if m.weight.shape[:2] == (self.classes, channels)]
            for name, module in reversed(fitting):
                weight = module.weight.detach().flatten(1).clone()  # (classes, K)
                bias = weight.new_zeros(self.classes) if module.bias is None else module.bias.detach().clone()
                off = (pooled @ weight.T + bias - self.logits).abs().max()
                if off <= min(10 * torch.finfo(off.dtype).eps ** 0.5, 0.05) * self.logits.abs().max():
                    return Head(name, weight, bias)
        if not fitting:
            found = f"its last one is {tuple(linear[-1][1].weight.shape)}" if linear else "it has none"
            raise ValueError(
                f"{rule}: no linear layer here maps the {channels} channels of layer {self.layer!r} "
                f"to {self.classes} classes ({found}); choose Grad-CAM instead"
            )
        raise ValueError(
            f"{rule}: {fitting[-1][0]!r} applied to the pooled channels of layer {self.layer!r} does not give "
            "the logits; choose the layer that is pooled, or Grad-CAM"
        )


class _Pass:
    """The forward pass that probes of the same images share; its lock is its own, the model has none."""

    def __init__(self, model: nn.Module, images: Tensor, layer: str | nn.Module | None) -> None:
        self.model: nn.Module = getattr(model, "_orig_mod", model)  # what torch.compile wrapped
        self.images = _checked_images(self.model, images)
        self.scan, self._net = scan(self.model, self.images)
        wide = [name for name, (_, height, width) in self.scan.maps.items() if height * width > 1]
        default = wide[-1] if wide else None
        self._layer = default if layer is None else layer_name(self.model, self.scan, layer)
        self._lock = threading.RLock()
        self._logits: Tensor | None = None
        self._graph: Tensor | None = None  # logits that remember how they follow from the activations
        self.activations: Tensor  # (N, K, h, w), the leaf of that graph

    @property
    def layer(self) -> str:
        if self._layer is None:
            raise ValueError("no layer of this model has feature maps of more than one cell: choose saliency instead")
        return self._layer

    def net(self) -> AbstractContextManager[nn.Module]:
        """Borrow a private copy, if possible the one that was scanned: the network as it is when a probe is made."""
        return private_copy(self.model, self._net)

    def logits(self) -> Tensor:
        with self._lock:
            if self._logits is None:
                if self._layer is None:
                    with self.net() as net, torch.inference_mode(False), torch.no_grad():
                        self._logits = read_logits(net, self.images.clone())  # (N, classes)
                else:
                    self.run()
            assert self._logits is not None  # the pass sets it
            return self._logits

    def offer(self, logits: Tensor) -> None:
        """Keep the logits of another pass over the same images, if none are known yet."""
        with self._lock:
            self._logits = logits if self._logits is None else self._logits

    def run(self) -> _Pass:
        """Run the network, once, cut at the layer: before it no graph is kept."""
        with self._lock:
            if self._graph is not None:
                return self

            def cut(module: nn.Module, args: Any, output: object) -> Tensor | None:
                if not has_maps(output):
                    return None
                self.activations = output.detach().clone().requires_grad_()  # (N, K, h, w)
                return self.activations.clone()  # what follows may write into its input

            name = self.layer
            with self.net() as net, recording():
                hook = net.get_submodule(name).register_forward_hook(cut)
                try:
                    logits = read_logits(net, self.images.clone())  # (N, classes)
                finally:
                    hook.remove()
            self.offer(logits.detach())
            self._graph = logits
            return self

    def tail_gradient(self, target: Tensor) -> Tensor:
        """The gradient (N, K, h, w) of the target logits at the layer; only what follows it is differentiated."""
        self.run()
        assert self._graph is not None  # run() sets it
        with self._lock, recording():
            return _gradient(self._graph, target, self.activations, f"layer {self.layer!r}")


def layers(model: nn.Module, images: Tensor) -> list[tuple[str, Shape]]:
    """The layers with feature maps for these images, in the order in which they finish, as (name, (K, h, w)).

    Raises:
        ValueError: images that the model cannot read, or a model that cannot be copied.
    """
    model = getattr(model, "_orig_mod", model)
    return list(scan(model, _checked_images(model, images))[0].maps.items())


def _gradient(logits: Tensor, target: Tensor, source: Tensor, called: str) -> Tensor:
    """The gradient of the sum of target logits, so of each image's own."""
    gradient = None
    if logits.requires_grad:
        chosen = logits.gather(1, target[:, None])  # (N, 1)
        (gradient,) = torch.autograd.grad(chosen.sum(), source, retain_graph=True, allow_unused=True)
    if gradient is None:
        raise ValueError(
            f"no gradient flows from the logits to {called}: the logits do not depend on it, "
            "or the model's forward switches gradients off"
        )
    return gradient.detach()


def _checked_images(model: nn.Module, images: Tensor) -> Tensor:
    """A copy of the images, outside of any graph."""
    if not isinstance(model, nn.Module):
        raise ValueError(f"the model must be a torch.nn.Module; received {type(model).__name__}")
    if not isinstance(images, Tensor) or images.ndim != 4 or images.numel() == 0:
        raise ValueError(f"images must have shape (N, C, H, W) with every size at least 1; received {in_words(images)}")
    if not images.is_floating_point():
        raise ValueError(f"images must be floating point, normalized as the model expects; received {images.dtype}")
    if not torch.isfinite(images).all():
        raise ValueError("images must be finite; received NaN or infinity")
    weight = next((p for p in model.parameters() if p.is_floating_point()), None)
    if weight is not None and (weight.device, weight.dtype) != (images.device, images.dtype):
        raise ValueError(
            f"images must lie where the model's weights lie, in their precision ({weight.dtype} on {weight.device}); "
            f"received {images.dtype} on {images.device}"
        )
    with torch.inference_mode(False):
        return images.detach().clone()  # (N, C, H, W)


def _checked_target(target: object, count: int, classes: int, device: torch.device) -> Tensor | None:
    """One class per image: (N,), int64."""
    if target is None:
        return None
    if isinstance(target, int) and not isinstance(target, bool):
        target = torch.full((count,), target)  # (N,)
    whole = isinstance(target, Tensor) and not target.is_floating_point() and target.dtype != torch.bool
    if not isinstance(target, Tensor) or not whole or target.shape != (count,):
        raise ValueError(
            f"target must be one class, or whole numbers of shape ({count},), one for each image; "
            f"received {in_words(target)}"
        )
    for index in target.tolist():
        if not 0 <= index < classes:
            raise ValueError(f"there is no class {index}: this model's classes are 0 to {classes - 1}")
    with torch.inference_mode(False):
        return target.detach().to(device, torch.int64, copy=True)  # (N,)
