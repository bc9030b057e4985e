"""Normalization of what training does: gradients are clipped, gamma and beta decay, tasks are balanced."""

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
    use="In networks without norms, at large batches: no unit may change by more than a share of its own length.",
    torch="gradient * (clipping * weight.norm(dim=1).clamp_min(eps) / gradient.norm(dim=1)).clamp_max(1)[:, None]",
    common_mistake="torch.nn.utils.clip_grad_norm_ is something else: one limit for all parameters together.",
)  # fmt: skip
def adaptive_gradient_clipping(
    gradient: Tensor,
    weight: Tensor,
    clipping: Annotated[float, Range(0.001, 1.0, symbol=r"\lambda", log=True)] = 0.01,
    eps: Annotated[float, Range(1e-12, 1.0, symbol=r"\epsilon", log=True)] = 1e-3,
) -> Tensor:
    """Shorten the gradient of each unit that is long compared with the unit's own weights.

    Args:
        gradient: (out, in) or (out, in, ...), a row for each unit.
        weight: the weight it belongs to, of the same shape.
        clipping: the longest that a row may be, as a share of the length of the unit's weights.
        eps: the least length that a unit's weights count as; without it a unit of zeros would never move.

    Returns:
        The clipped gradient, shape of `gradient`; rows below the limit are left as they are.

    Raises:
        ValueError: shapes that differ, fewer than 2 axes, or a limit that is not above 0.

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
    share: Tensor = limit / torch.maximum(length, limit)  # (out,), at most 1
    return gradient * share.view(-1, *[1] * (gradient.ndim - 1))  # shape of gradient


@normalization(
    title="Weight decay on gamma and beta",
    cite="summers2019four",
    aliases=("affine weight decay", "regularizing gamma and beta"),
    acts_on="training",
    formula=r"\frac{\lambda}{2}\left(\lVert \gamma - 1 \rVert^2 + \lVert \beta \rVert^2\right) \ \text{as published,}"
    r" \quad \frac{\lambda}{2}\left(\lVert \gamma \rVert^2 + \lVert \beta \rVert^2\right) \ \text{in optimizers}",
    use="In networks with batch normalization that overfit: it keeps gamma near 1 and beta near 0.",
    torch="decay / 2 * ((weight - 1).square().sum() + bias.square().sum())",
    common_mistake="weight_decay of torch.optim pulls every parameter to 0, gamma too, and so switches channels off.",
)
def affine_decay(
    weight: Tensor,
    bias: Tensor,
    decay: Annotated[float, Range(1e-6, 1.0, symbol=r"\lambda", log=True)] = 1e-4,
    form: Literal["published", "optimizer"] = "published",
) -> Tensor:
    """The penalty that is added to the loss for the gamma and beta of a normalization.

    Args:
        weight: (C,), the scale gamma.
        bias: (C,), the shift beta.
        decay: the strength of the penalty.
        form: published pulls gamma to 1; optimizer pulls it to 0, as the weight decay of optimizers does.

    Returns:
        The penalty, a scalar; its gradient is decay times the distance from where it pulls.

    Raises:
        ValueError: gamma and beta of different shapes, or no such form.

    Source:
        Summers & Dinneen 2019, Section 3.3.
    """
    check_parameters("affine_decay", tuple(weight.shape), bias=bias)
    goals = {"published": 1.0, "optimizer": 0.0}
    if form not in goals:
        raise ValueError(f"affine_decay needs a form, one of {', '.join(goals)}; received {form!r}")
    return decay / 2 * ((weight - goals[form]).square().sum() + bias.square().sum())  # ()


@normalization(
    title="GradNorm",
    cite="chen2018gradnorm",
    aliases=("gradient normalization of tasks",),
    acts_on="training",
    formula=r"w \leftarrow w - \eta\,\nabla_w \sum_i \left| G_i - \bar G\,r_i^\alpha \right|, \quad"
    r" G_i = \lVert \nabla_W w_i L_i \rVert,\quad r_i = \frac{L_i / L_i^0}{\operatorname{mean}_j L_j / L_j^0},"
    r" \quad \sum_i w_i = T",
    use="When one network learns several tasks: the task that lags behind gets more weight.",
    torch="",
    common_mistake="It changes the weights of the losses, not the gradients; the target is held fixed, not differentiated.",
)  # fmt: skip
def grad_norm(
    task_weights: Tensor,
    gradient_norms: Tensor,
    losses: Tensor,
    initial_losses: Tensor,
    alpha: Annotated[float, Range(0.0, 3.0, symbol=r"\alpha")] = 1.5,
    lr: Annotated[float, Range(0.001, 0.1, symbol=r"\eta", log=True)] = 0.025,
) -> Tensor:
    """The next weights of several tasks: one step towards gradients whose lengths fit each task's progress.

    Args:
        task_weights: (T,), the weight of each task's loss, above 0.
        gradient_norms: (T,), the length of each task's gradient at the last shared layer, before it is weighted.
        losses: (T,), each task's loss now.
        initial_losses: (T,), each task's loss at the start of training, above 0.
        alpha: how strongly a task that lags behind is favored; 0 makes all gradients equally long.
        lr: the step size.

    Returns:
        The next weights, (T,), with the sum T. Nothing else is changed.

    Raises:
        ValueError: shapes that differ, weights or initial losses not above 0, or a step that ends below 0.

    Source:
        Chen et al. 2018, Eqs. 1 and 2 and Algorithm 1.
    """
    tasks = tuple(task_weights.shape)
    if len(tasks) != 1:
        raise ValueError(f"grad_norm needs one weight per task, (T,); received shape {tasks}")
    check_parameters(
        "grad_norm", tasks, gradient_norms=gradient_norms, losses=losses, initial_losses=initial_losses
    )  # fmt: skip
    for name, given in (("task_weights", task_weights), ("initial_losses", initial_losses)):
        if not bool((given > 0).all()):
            raise ValueError(f"grad_norm needs {name} above 0; received {given.tolist()}")
    lengths = task_weights * gradient_norms  # (T,), G
    progress = losses / initial_losses  # (T,)
    target = lengths.mean() * (progress / progress.mean()) ** alpha  # (T,), a constant
    updated = task_weights - lr * torch.sign(lengths - target) * gradient_norms  # (T,)
    if not bool((updated > 0).all()):
        raise ValueError(f"grad_norm stepped to the task weights {updated.tolist()}, which must stay above 0: lower lr")
    return updated * (len(updated) / updated.sum())  # (T,)
