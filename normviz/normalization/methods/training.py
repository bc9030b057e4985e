"""Normalization during training: gradient clipping, decay of gamma and beta, and balancing of tasks."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor

from normviz.normalization.checks import check_input, check_parameters
from normviz.registry import Range, normalization

__all__ = ["adaptive_gradient_clipping", "affine_decay", "grad_norm"]


@normalization(
    title="Adaptive Gradient Clipping",
    cite="brock2021high",
    aliases=("AGC",),
    acts_on="training",
    formula=r"G_i \leftarrow \lambda\,\frac{w_i}{\lVert G_i \rVert}\,G_i \ \text{ if } \frac{\lVert G_i \rVert}{w_i} >"
    r" \lambda, \quad w_i = \max(\lVert W_i \rVert, \epsilon)",
    use="In networks without norms, at large batch sizes: the update of each unit is limited relative to its weight "
    "norm.",
    torch="gradient * (clipping * weight.norm(dim=1).clamp_min(eps) / gradient.norm(dim=1)).clamp_max(1)[:, None]",
    common_mistake="torch.nn.utils.clip_grad_norm_ is a different method: it limits the norm of all gradients "
    "together.",
)  # fmt: skip
def adaptive_gradient_clipping(
    gradient: Tensor,
    weight: Tensor,
    clipping: Annotated[float, Range(0.001, 1.0, symbol=r"\lambda", log=True)] = 0.01,
    eps: Annotated[float, Range(1e-12, 1.0, symbol=r"\epsilon", log=True)] = 1e-3,
) -> Tensor:
    """Clip the gradient of each unit to a fraction of its weight norm.

    Args:
        gradient: (out, in) or (out, in, ...), one row per unit.
        weight: the corresponding weight, of the same shape.
        clipping: the largest norm of a row, as a fraction of the weight norm of the unit.
        eps: the smallest weight norm; without it, a unit with weights of 0 would never change.

    Returns:
        The clipped gradient, shape of `gradient`; rows below the limit are unchanged.

    Raises:
        ValueError: different shapes, fewer than 2 axes, or a limit that is not positive.

    Source:
        Brock et al. 2021 (High-Performance), Eq. 3.
    """
    check_input("adaptive_gradient_clipping", gradient)
    check_parameters("adaptive_gradient_clipping", tuple(gradient.shape), weight=weight)
    if clipping <= 0 or eps <= 0:
        raise ValueError(
            f"adaptive_gradient_clipping needs clipping and eps above 0; received {clipping:g} and {eps:g}"
        )
    limit = clipping * torch.linalg.vector_norm(weight.flatten(1), dim=1).clamp_min(eps)  # (out,)
    length = torch.linalg.vector_norm(gradient.flatten(1), dim=1)  # (out,)
    factor: Tensor = limit / torch.maximum(length, limit)  # (out,), at most 1
    return gradient * factor.view(-1, *[1] * (gradient.ndim - 1))  # shape of gradient


@normalization(
    title="Weight decay on gamma and beta",
    cite="summers2019four",
    aliases=("affine weight decay", "regularizing gamma and beta"),
    acts_on="training",
    formula=r"\frac{\lambda}{2}\left(\lVert \gamma - 1 \rVert^2 + \lVert \beta \rVert^2\right) \ \text{as published,}"
    r" \quad \frac{\lambda}{2}\left(\lVert \gamma \rVert^2 + \lVert \beta \rVert^2\right) \ \text{in optimizers}",
    use="In networks with batch norm that overfit: it keeps gamma near 1 and beta near 0.",
    torch="decay / 2 * ((weight - 1).square().sum() + bias.square().sum())",
    common_mistake="weight_decay in torch.optim pulls every parameter to 0, including gamma, which suppresses "
    "channels.",
)
def affine_decay(
    weight: Tensor,
    bias: Tensor,
    decay: Annotated[float, Range(1e-6, 1.0, symbol=r"\lambda", log=True)] = 1e-4,
    form: Literal["published", "optimizer"] = "published",
) -> Tensor:
    """The penalty on gamma and beta of a normalization, to be added to the loss.

    Args:
        weight: (C,), the scale gamma.
        bias: (C,), the shift beta.
        decay: the strength of the penalty.
        form: published pulls gamma to 1; optimizer pulls it to 0, as the weight decay of optimizers does.

    Returns:
        The penalty, a scalar; its gradient is decay times the difference from the target.

    Raises:
        ValueError: gamma and beta of different shapes, or an unknown form.

    Source:
        Summers & Dinneen 2019, Section 3.3.
    """
    check_parameters("affine_decay", tuple(weight.shape), bias=bias)
    targets = {"published": 1.0, "optimizer": 0.0}
    if form not in targets:
        raise ValueError(f"form must be one of {', '.join(targets)}; received {form!r}")
    return decay / 2 * ((weight - targets[form]).square().sum() + bias.square().sum())  # ()


@normalization(
    title="GradNorm",
    cite="chen2018gradnorm",
    aliases=("gradient normalization of tasks",),
    acts_on="training",
    formula=r"w \leftarrow w - \eta\,\nabla_w \sum_i \left| G_i - \bar G\,r_i^\alpha \right|, \quad"
    r" G_i = \lVert \nabla_W w_i L_i \rVert,\quad r_i = \frac{L_i / L_i^0}{\operatorname{mean}_j L_j / L_j^0},"
    r" \quad \sum_i w_i = T",
    use="For one network that learns several tasks: tasks that learn slowly get more weight.",
    torch="",
    common_mistake="It changes the weights of the losses, not the gradients, and the target is a constant that is not "
    "differentiated.",
)  # fmt: skip
def grad_norm(
    task_weights: Tensor,
    gradient_norms: Tensor,
    losses: Tensor,
    initial_losses: Tensor,
    alpha: Annotated[float, Range(0.0, 3.0, symbol=r"\alpha")] = 1.5,
    lr: Annotated[float, Range(0.001, 0.1, symbol=r"\eta", log=True)] = 0.025,
) -> Tensor:
    """Update the loss weights of several tasks, so that slower tasks get larger gradients.

    Args:
        task_weights: (T,), the weight of the loss of each task, above 0.
        gradient_norms: (T,), the norm of the unweighted gradient of each task at the last shared layer.
        losses: (T,), the current loss of each task.
        initial_losses: (T,), the loss of each task at the start of training, above 0.
        alpha: how strongly slow tasks are favored; 0 makes all gradient norms equal.
        lr: the step size.

    Returns:
        The next weights, (T,), which sum to T.

    Raises:
        ValueError: different shapes, weights or initial losses that are not positive, or a step to a negative weight.

    Source:
        Chen et al. 2018, Eqs. 1 and 2 and Algorithm 1.
    """
    tasks = tuple(task_weights.shape)
    if len(tasks) != 1:
        raise ValueError(f"grad_norm needs one weight per task, (T,); received shape {tasks}")
    check_parameters(
        "grad_norm", tasks, gradient_norms=gradient_norms, losses=losses, initial_losses=initial_losses
    )  # fmt: skip
    for name, values in (("task_weights", task_weights), ("initial_losses", initial_losses)):
        if not bool((values > 0).all()):
            raise ValueError(f"grad_norm needs {name} above 0; received {values.tolist()}")
    lengths = task_weights * gradient_norms  # (T,), G
    progress = losses / initial_losses  # (T,)
    target = lengths.mean() * (progress / progress.mean()) ** alpha  # (T,), a constant
    updated = task_weights - lr * torch.sign(lengths - target) * gradient_norms  # (T,)
    if not bool((updated > 0).all()):
        raise ValueError(f"grad_norm stepped to the task weights {updated.tolist()}, which must stay above 0: lower lr")
    return updated * (len(updated) / updated.sum())  # (T,)
