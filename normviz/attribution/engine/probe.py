"""The probe: a network, images, a target and a layer, and the values that attribution methods need from them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor, nn

from normviz.attribution.engine.forward import Forward, checked_images, gradients_of, score_of
from normviz.attribution.engine.network import Shape, as_logits, describe_value, read_output, recording, scan
from normviz.attribution.engine.relu_rules import ReluRule, Rule
from normviz.attribution.targets import Score, check_class


class Head(NamedTuple):
    """The linear layer at the end of a network of convolutions, global average pooling and one linear layer."""

    name: str
    weight: Tensor  # (classes, K)
    bias: Tensor  # (classes,)


class Probe:
    """A network, images, a target and a layer; logits, activations and gradients are computed on demand and cached.

    The network is not changed: a copy that shares its weights is run in inference mode, on the device of the network.
    Tensors returned by a probe are shared and must not be modified.

    Args:
        model: maps images (N, C, H, W) to logits (N, classes), or to an object or dictionary with `logits`; to anything
            if the target is a function of the output.
        images: (N, C, H, W), floating point, the model's input.
        target: the class to explain, for all images or (N,) one per image; None: the top class of each image; or a
            function of the model's output that returns one number per image (see `targets`).
        layer: the dotted name of a layer, or the module itself; None: the last layer with feature maps of more than
            one cell. A layer that runs several times is read at its last run on feature maps; the tokens of a
            transformer are arranged as a grid.

    Raises:
        ValueError: images, class or layer do not fit the model, or the model cannot be copied or run.
    """

    def __init__(
        self,
        model: nn.Module,
        images: Tensor,
        target: int | Tensor | Score | None = None,
        layer: str | nn.Module | None = None,
    ) -> None:
        self._pass = Forward(model, images, None if layer is None else [layer])
        self._layer = self._pass.layers[0] if self._pass.layers else None
        self._objective = _Objective(self._pass, target)

    def _like(self, objective: _Objective, layer: str | None) -> Probe:
        other = Probe.__new__(Probe)
        other._pass, other._objective, other._layer = self._pass, objective, layer
        return other

    def for_target(self, target: int | Tensor | Score | None) -> Probe:
        """A probe with another target that shares this probe's forward pass."""
        return self._like(_Objective(self._pass, target), self._layer)

    def for_classes(self, classes: Sequence[int]) -> tuple[Probe, ...]:
        """Probes of several classes, with gradients at the layer from one batched backward pass.

        Args:
            classes: indices of the classes, each applied to all images.
        """
        objectives = [_Objective(self._pass, index) for index in classes]
        gradients = self._pass.class_gradients(
            [objective.target for objective in objectives]
        )  # (T, N, K, h, w) by layer
        for index, objective in enumerate(objectives):
            objective.gradients = {layer: gradient[index] for layer, gradient in gradients.items()}
        return tuple(self._like(objective, self._layer) for objective in objectives)

    @property
    def model(self) -> nn.Module:
        """The original network."""
        return self._pass.model

    @property
    def images(self) -> Tensor:
        """The images: (N, C, H, W)."""
        return self._pass.images

    @property
    def classes(self) -> int:
        """The number of classes.

        Raises:
            ValueError: the model returns no logits.
        """
        if self._pass.scan.refusal is not None:
            raise ValueError(str(self._pass.scan.refusal))
        return self._pass.scan.classes

    @property
    def layer(self) -> str:
        """The dotted name of the layer."""
        if self._layer is None:
            raise ValueError("no layer of this model has feature maps of more than one cell: choose saliency instead")
        return self._layer

    @property
    def logits(self) -> Tensor:
        """The logits: (N, classes)."""
        return self._pass.logits()

    @property
    def target(self) -> Tensor:
        """The class of each image: (N,), int64.

        Raises:
            ValueError: the target is not a class.
        """
        return self._objective.target

    @property
    def objective(self) -> Tensor | Score:
        """The target: the class of each image (N,), or a function of the model's output."""
        return self._objective.value

    @property
    def score(self) -> Tensor:
        """The explained score of each image (N,): the logit of its class, or the value of the target function."""
        return self._objective.score

    @property
    def activations(self) -> Tensor:
        """The layer's output A: (N, K, h, w)."""
        return self._pass.activations(self.layer)

    @property
    def gradients(self) -> Tensor:
        """dS_c / dA, the gradient of each image's score: (N, K, h, w), in logits per unit of A."""
        layer = self.layer
        return self._objective.gradients[layer]

    @cached_property
    def input_gradient(self) -> Tensor:
        """dS_c / dx: (N, C, H, W), in logits per unit of the input."""
        return self._input_gradient(None)

    def backprop(self, rule: Rule) -> Tensor:
        """The gradient at the input (N, C, H, W) with a modified backward rule for ReLUs.

        Args:
            rule: "deconvnet": relu of the incoming gradient; "guided": the same, where the ReLU was active in the
                forward pass.

        Raises:
            ValueError: there is no ReLU between the images and the logits.
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
                output = read_output(net, leaf.clone())
            if mode and not mode.found:
                others = f"; it uses {', '.join(sorted(mode.others))}, for which the rule is not defined"
                raise ValueError(
                    f"{rule} requires a network with ReLUs, and none was found between the images and the logits"
                    f"{others if mode.others else ''}: choose saliency instead"
                )
            if self._objective.given is None:  # the top class comes from this pass
                self._pass.store_logits(as_logits(output, self.images).detach())
            scores = score_of(self._objective.value, output, self.images)  # (N,)
            return gradients_of(scores, [leaf], "the images")[0]  # (N, C, H, W)

    def score_at(self, images: Tensor, index: int = 0, probability: bool = False) -> Tensor:
        """The score of other images, without gradients.

        Args:
            images: (b, C, H, W), as the model expects them.
            index: index of the image of this probe whose target is used.
            probability: return the softmax probability of the class instead of its logit.

        Returns:
            (b,), the score of each.

        Raises:
            ValueError: a probability was requested, but the target is not a class.
        """
        with self._pass.net() as net, torch.inference_mode():
            output = read_output(net, images.clone())
            return self._objective.of(output, images, index, probability).clone()  # (b,)

    def score_from_layer(self, activations: Tensor, index: int = 0) -> Tensor:
        """The score for other outputs of the layer; only the part of the network after the layer is computed.

        Args:
            activations: (b, K, h, w).
            index: index of the image of this probe.

        Returns:
            (b,), the score of each.
        """
        downstream = self._pass.downstream(self.layer, index)
        return self._objective.of(downstream.run(activations), activations, index, False)  # (b,)

    def gradient_at(self, images: Tensor, index: int = 0) -> Tensor:
        """The gradient (b, C, H, W) of the score at other images (b, C, H, W)."""
        return self._at(images, index).input_gradient  # (b, C, H, W)

    def layer_at(self, images: Tensor, index: int = 0) -> tuple[Tensor, Tensor]:
        """Activations and gradients, both (b, K, h, w), at the layer for other images (b, C, H, W)."""
        other = self._at(images, index)
        return other.activations, other.gradients

    def _at(self, images: Tensor, index: int) -> Probe:
        objective = self.objective
        target = objective[index].expand(len(images)).clone() if isinstance(objective, Tensor) else objective
        return Probe(self.model, images, target, self._layer)

    @cached_property
    def head(self) -> Head:
        """The linear layer applied to the pooled activations, verified: logits = W mean(A) + b.

        Raises:
            ValueError: the network does not end in global average pooling and one linear layer.
        """
        channels = self.activations.shape[1]
        rule = "CAM requires a network of convolutions, global average pooling and one linear layer"
        with self._pass.net() as net, torch.inference_mode(False), torch.no_grad():
            pooled = self.activations.mean(dim=(2, 3))  # (N, K)
            linear = [(n, m) for n, m in net.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)]
            fitting = [(n, m) for n, m in linear if m.weight.shape[:2].numel() == m.weight.numel()]
            fitting = [(n, m) for n, m in fitting if m.weight.shape[:2] == (self.classes, channels)]
            for name, module in reversed(fitting):
                weight = module.weight.detach().flatten(1).clone()  # (classes, K)
                bias = weight.new_zeros(self.classes) if module.bias is None else module.bias.detach().clone()
                error = (pooled @ weight.T + bias - self.logits).abs().max()
                if error <= min(10 * torch.finfo(error.dtype).eps ** 0.5, 0.05) * self.logits.abs().max():
                    return Head(name, weight, bias)
        if not fitting:
            last = f"its last one is {tuple(linear[-1][1].weight.shape)}" if linear else "it has none"
            raise ValueError(
                f"{rule}: no linear layer here maps the {channels} channels of layer {self.layer!r} "
                f"to {self.classes} classes ({last}); choose Grad-CAM instead"
            )
        raise ValueError(
            f"{rule}: {fitting[-1][0]!r} applied to the pooled channels of layer {self.layer!r} does not return "
            "the logits; choose the layer that is pooled, or Grad-CAM"
        )


class _Objective:
    """The target of a probe: a class for each image, or a function of the output; with its score and gradients."""

    def __init__(self, forward: Forward, target: int | Tensor | Score | None) -> None:
        self._pass = forward
        if target is not None and callable(target) and not isinstance(target, Tensor):
            self.given: Tensor | Score | None = target
            return
        if forward.scan.refusal is not None:
            raise ValueError(str(forward.scan.refusal))
        self.given = _checked_target(target, len(forward.images), forward.scan.classes, forward.images.device)

    @cached_property
    def value(self) -> Tensor | Score:
        """The class of each image (N,), or the function."""
        if self.given is not None:
            return self.given
        with torch.inference_mode(False):
            return self._pass.logits().argmax(dim=1)  # (N,)

    @property
    def target(self) -> Tensor:
        if not isinstance(self.value, Tensor):
            raise ValueError(f"the target is {self.value}, not a class: choose a method that does not require a class")
        return self.value

    @cached_property
    def score(self) -> Tensor:
        return self._pass.scores(self.value)  # (N,)

    @cached_property
    def gradients(self) -> dict[str, Tensor]:
        return self._pass.gradients(self.value)  # (N, K, h, w) by layer

    def of(self, output: object, images: Tensor, index: int, probability: bool) -> Tensor:
        """The scores (b,) in the output for b other images, with the target of image `index`."""
        objective = self.target if probability else self.value
        if not isinstance(objective, Tensor):
            return score_of(objective, output, images)  # (b,)
        logits = as_logits(output, images)  # (b, classes)
        return (logits.softmax(dim=1) if probability else logits)[:, objective[index]]  # (b,)


def probes(
    model: nn.Module, images: Tensor, target: int | Tensor | Score | None, layers: Sequence[str | nn.Module]
) -> tuple[Probe, ...]:
    """Probes of several layers, which share one forward and one backward pass.

    Args:
        model: as for `Probe`.
        images: (N, C, H, W), as for `Probe`.
        target: as for `Probe`.
        layers: one or more layers, as for `Probe`.

    Raises:
        ValueError: no layers, or arguments that `Probe` rejects.
    """
    if not layers:
        raise ValueError("probes requires at least one layer; received none")
    first = Probe.__new__(Probe)
    first._pass = Forward(model, images, layers)
    first._layer, first._objective = first._pass.layers[0], _Objective(first._pass, target)
    return tuple(first._like(first._objective, name) for name in first._pass.layers)


def layers(model: nn.Module, images: Tensor) -> list[tuple[str, Shape]]:
    """The layers with feature maps for these images, as (name, (K, h, w)), in the order in which they finish.

    Raises:
        ValueError: the model cannot process the images, or cannot be copied.
    """
    model = getattr(model, "_orig_mod", model)
    return list(scan(model, checked_images(model, images))[0].maps.items())


def _checked_target(target: object, count: int, classes: int, device: torch.device) -> Tensor | None:
    """The target as one class per image (N,), int64."""
    if target is None:
        return None
    if isinstance(target, int) and not isinstance(target, bool):
        target = torch.full((count,), target)  # (N,)
    whole = isinstance(target, Tensor) and not target.is_floating_point() and target.dtype != torch.bool
    if not isinstance(target, Tensor) or not whole or target.shape != (count,):
        raise ValueError(
            f"target must be one class, or integers of shape ({count},), one per image; "
            f"received {describe_value(target)}"
        )
    for index in target.tolist():
        check_class(index, classes)
    with torch.inference_mode(False):
        return target.detach().to(device, torch.int64, copy=True)  # (N,)
