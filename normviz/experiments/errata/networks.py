"""Errata of weight normalization, transformers, training and deep networks."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from normviz.experiments.errata.erratum import EPS, Comparison, Outcome, erratum, seeded_normal
from normviz.normalization import batch_norm, fix_norm, grad_norm, qk_norm, scale_norm, spectral_norm

SHEAR = torch.tensor([[1.0, 10.0], [0.0, 1.0]]).double()  # (2, 2)
BACK_AND_FORTH = (
    r"\begin{gathered}v \leftarrow \frac{\good{W^\top} u}{\lVert \good{W^\top} u \rVert_2} \\[1em]"
    r"u \leftarrow \frac{W v}{\lVert W v \rVert_2}"
)
NILPOTENT = torch.tensor([[0.0, 1.0], [0.0, 0.0]]).double()  # (2, 2)


def one_sided(weight: Tensor, x: Tensor, steps: int) -> tuple[float, Tensor]:
    """Run power iteration as it is often printed, x <- Wx / ||Wx||, and return the last ||Wx|| and x.

    Args:
        weight: (n, n).
        x: (n,), the start vector, of length 1.
        steps: number of iterations.

    Raises:
        RuntimeError: if the weight is not square, so that W cannot be applied to Wx.
    """
    stretch = torch.zeros((), dtype=weight.dtype)  # ()
    for _ in range(steps):
        x = weight @ x  # (n,)
        stretch = x.norm()  # ()
        x = x / stretch.clamp_min(1e-300)  # (n,)
    return float(stretch), x


def sigma(weight: Tensor, steps: int = 200) -> float:
    """Return the number by which the registered spectral norm divides the weight."""
    return float(weight.norm() / spectral_norm(weight, steps=steps)[0].norm())


def _start(size: int) -> Tensor:
    return torch.full((size,), size**-0.5, dtype=torch.float64)  # (n,)


@erratum(
    "power-iteration-shape",
    title="Power iteration: a matrix that is not square",
    printed=r"x \leftarrow \frac{\wrong{W x}}{\lVert \wrong{W x} \rVert_2}",
    right=BACK_AND_FORTH + r"\end{gathered}",
    why="W maps inputs to outputs, so W x is a vector of outputs, and W can be applied to it again only if there "
    "are as many outputs as inputs. Multiplying by W and by its transpose in turn works for every shape.",
    methods=("spectral_norm",),
)
def power_iteration_shape() -> Outcome:
    """The one-sided iteration on weights with more, or fewer, inputs than outputs."""
    shapes = ((3, 5), (6, 4), (8, 2))
    weights = [seeded_normal(*shape, seed=k) for k, shape in enumerate(shapes, start=1)]  # each (out, in)
    right = torch.tensor([sigma(weight) for weight in weights]).double()  # (3,)
    try:
        printed = torch.tensor([one_sided(weight, _start(weight.shape[1]), 20)[0] for weight in weights]).double()
        refusal = ""
    except RuntimeError as error:
        printed, refusal = None, f"W x has 3 components but W expects 5, so the second step fails ({error})"
    labels = tuple(f"{rows} × {columns}" for rows, columns in shapes)
    facts = (
        Comparison(
            "largest stretch σ of the 3 × 5 matrix", None if printed is None else float(printed[0]), float(right[0])
        ),
    )
    return Outcome("three random weights, outputs × inputs", "largest singular value σ", printed, right, facts,
                   labels=labels, refusal=refusal)  # fmt: skip


@erratum(
    "power-iteration-shear",
    title="Power iteration: a shear",
    printed=r"x \leftarrow \frac{\wrong{W x}}{\lVert \wrong{W x} \rVert_2},\quad \sigma = \lVert W x \rVert_2",
    right=BACK_AND_FORTH + r"\\[1em] \sigma = u^\top W v\end{gathered}",
    why="Applying W repeatedly finds an eigenvector, a direction that W does not change, and its eigenvalue. A "
    "shear keeps the first axis and stretches it by 1, but it stretches another direction by more than 10. If "
    "the weight is divided by 1, the layer still stretches vectors by a factor of 10.",
    methods=("spectral_norm",),
)
def power_iteration_shear() -> Outcome:
    """The one-sided iteration on the shear [[1, 10], [0, 1]]."""
    steps = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)
    x, u, done, printed, right = _start(2), None, 0, [], []
    for step in steps:
        stretch, x = one_sided(SHEAR, x, step - done)
        normalized, u = spectral_norm(SHEAR, u, steps=step - done)
        printed.append(stretch)
        right.append(float(SHEAR.norm() / normalized.norm()))
        done = step
    facts = (Comparison("σ after 2000 steps", printed[-1], right[-1], digits=5),)
    return Outcome("W = [[1, 10], [0, 1]]", "estimate of σ", torch.tensor(printed).double(),
                   torch.tensor(right).double(), facts, at=steps, axis="steps of the iteration")  # fmt: skip


@erratum(
    "power-iteration-nilpotent",
    title="Power iteration: a matrix whose square is 0",
    printed=r"x \leftarrow \frac{\wrong{W x}}{\lVert \wrong{W x} \rVert_2},\quad \sigma = \lVert W x \rVert_2",
    right=BACK_AND_FORTH + r"\\[1em] \sigma = u^\top W v\end{gathered}",
    why="This matrix moves the second component to the first position and drops the first component. It stretches "
    "vectors by up to 1, but applying it twice gives 0. The one-sided iteration therefore reaches 0 after two "
    "steps and divides by it.",
    methods=("spectral_norm",),
)
def power_iteration_nilpotent() -> Outcome:
    """The one-sided iteration on [[0, 1], [0, 0]]."""
    steps = (1, 2, 3, 4)
    printed = [one_sided(NILPOTENT, _start(2), step)[0] for step in steps]
    right = [sigma(NILPOTENT, step) for step in steps]
    facts = (Comparison("σ after 2 steps", printed[1], right[1]),)
    return Outcome("W = [[0, 1], [0, 0]]", "estimate of σ", torch.tensor(printed).double(),
                   torch.tensor(right).double(), facts, labels=tuple(map(str, steps)), axis="steps")  # fmt: skip


@erratum(
    "spectral-radius",
    title="Spectral norm is not the spectral radius",
    claim="Spectral normalization divides the weight by its largest eigenvalue.",
    printed=r"\hat W = \frac{W}{\wrong{\max_i |\lambda_i(W)|}}",
    right=r"\hat W = \frac{W}{\good{\sigma_1(W)}},\quad \sigma_1 = \max_{x} \frac{\lVert W x \rVert_2}"
    r"{\lVert x \rVert_2}",
    why="The largest absolute eigenvalue (the spectral radius) describes how fast a vector grows when W is applied "
    "many times. A layer is applied once, so the largest singular value is needed: the largest factor by which "
    "any vector can be stretched. Both agree for symmetric matrices, and more generally for normal ones. For "
    "other matrices the spectral radius can be much smaller, and the divided layer can still stretch vectors by "
    "more than 1.",
    methods=("spectral_norm",),
)
def spectral_radius() -> Outcome:
    """Spectral radii and largest singular values of four matrices."""
    random = seeded_normal(32, 32, seed=2, std=32**-0.5)  # (32, 32)
    weights = {
        "symmetric": (random + random.T) / 2,
        "random": random,
        "shear": SHEAR,
        "nilpotent": NILPOTENT,
    }  # each (n, n)
    printed = torch.stack([torch.linalg.eigvals(w).abs().max() for w in weights.values()])  # (4,)
    right = torch.tensor([sigma(w, 300) for w in weights.values()]).double()  # (4,)
    facts = (
        Comparison("shear: number that divides the weight", float(printed[2]), float(right[2]), digits=5),
        Comparison(
            "random: largest singular value after the division", float(right[1] / printed[1]), sigma(random / right[1])
        ),
    )
    return Outcome("four square matrices", "number that divides the weight", printed, right, facts,
                   labels=tuple(weights))  # fmt: skip


@erratum(
    "scale-norm-shared",
    title="ScaleNorm: one scale for the whole network",
    claim="ScaleNorm multiplies by one learned number that all layers of the network share.",
    printed=r"y_l = \wrong{g}\,\frac{x_l}{\lVert x_l \rVert_2}",
    right=r"y_l = \good{g_l}\,\frac{x_l}{\lVert x_l \rVert_2}",
    why="Each ScaleNorm layer in the network has its own scale g. One layer may need long output vectors and "
    "another one short vectors; a single shared number can only fit their average.",
    methods=("scale_norm",),
)
def scale_norm_shared() -> Outcome:
    """Three layers that need vectors of different lengths: g by least squares, shared or one per layer."""
    wanted = (2.0, 5.0, 11.0)
    x = seeded_normal(3, 128, 16, seed=3)  # (places, N, D)
    units = torch.stack([scale_norm(place, torch.ones(()).double()) for place in x])  # (places, N, D)
    targets = units * torch.tensor(wanted).double()[:, None, None] + seeded_normal(3, 128, 16, seed=4, std=0.1)
    best = (units * targets).sum((1, 2)) / units.square().sum((1, 2))  # (places,) least squares
    shared = best.mean().expand(3)  # (places,) all layers have the same number of units
    ys = [torch.stack([scale_norm(place, length) for place, length in zip(x, g, strict=True)]) for g in (shared, best)]
    errors = [float((y - targets).square().sum(2).mean().sqrt()) for y in ys]
    lengths = [y.norm(dim=2).mean(1) for y in ys]  # (places,), (places,)
    facts = (
        Comparison("root mean square distance from the target vectors", errors[0], errors[1]),
        Comparison("length in the third layer", float(lengths[0][2]), float(lengths[1][2])),
    )
    return Outcome("three layers with targets of length 2, 5 and 11", "length of the output vectors",
                   lengths[0], lengths[1], facts, labels=("layer 1", "layer 2", "layer 3"))  # fmt: skip


@erratum(
    "fix-norm-activations",
    title="FixNorm normalizes word embeddings",
    claim="FixNorm normalizes the output vectors of the transformer.",
    printed=r"\text{score}_w = e_w \cdot \wrong{g\,\frac{h}{\lVert h \rVert_2}}",
    right=r"\text{score}_w = \good{g\,\frac{e_w}{\lVert e_w \rVert_2}} \cdot h",
    why="A word's score is the dot product of its embedding with the network's output vector h. Frequent words get "
    "long embeddings and therefore win against rare words that would fit better. Only normalizing the "
    "embeddings corrects this. Normalizing h multiplies the scores of all words by the same factor, so the same "
    "word still wins.",
    methods=("fix_norm",),
)
def fix_norm_activations() -> Outcome:
    """How often each of six words wins; rarer words have shorter embeddings."""
    lengths = torch.tensor([3.0, 2.4, 1.8, 1.3, 0.9, 0.5]).double()  # (V,)
    words = fix_norm(seeded_normal(6, 32, seed=6)) * lengths[:, None]  # (V, D)
    contexts = seeded_normal(4000, 32, seed=7)  # (N, D)
    scores = words @ fix_norm(contexts).T, fix_norm(words) @ contexts.T  # (V, N), (V, N)
    wins = [F.one_hot(score.argmax(0), 6).double().mean(0) for score in scores]  # (V,), (V,)
    facts = (
        Comparison("share of contexts won by the rarest word", float(wins[0][-1]), float(wins[1][-1])),
        Comparison("share of contexts won by the most frequent word", float(wins[0][0]), float(wins[1][0])),
    )
    return Outcome("6 words, frequent ones with long embeddings; 4,000 contexts in random directions",
                   "share of contexts won", wins[0], wins[1], facts, labels=tuple("ABCDEF"),
                   axis="word, most frequent first")  # fmt: skip


@erratum(
    "qk-norm-scale",
    title="QKNorm without the scale",
    printed=r"\mathrm{softmax}\big(\wrong{\hat Q \hat K^\top}\big) V",
    right=r"\mathrm{softmax}\big(\good{g}\,\hat Q \hat K^\top\big) V,\quad g_0 = \log_2(L^2 - L)",
    why="Queries and keys of length 1 give scores from -1 to 1. The softmax of such scores is nearly uniform: even "
    "a key that matches exactly gets only about e times the weight of an orthogonal key, and with many keys "
    "this weight is close to 0. The learned factor g makes sharp attention possible.",
    methods=("qk_norm",),
)
def qk_norm_scale() -> Outcome:
    """64 tokens whose query equals their own key."""
    tokens = seeded_normal(1, 64, 32, seed=8)  # (N, L, D)
    unit, every = F.normalize(tokens, dim=-1), torch.eye(64, dtype=tokens.dtype)[None]  # (N, L, D), (N, L, L)
    printed = (unit @ unit.mT).softmax(-1)  # (N, L, L)
    right = qk_norm(tokens, tokens, every)  # (N, L, L), the weights themselves
    facts = (
        Comparison("weight of the matching key", *(float(a.diagonal(0, 1, 2).mean()) for a in (printed, right))),
        Comparison("entropy of the attention, at most 6 bits", _bits(printed), _bits(right)),
        Comparison("initial g for 64 tokens", None, math.log2(64**2 - 64)),
    )
    return Outcome("64 tokens whose query equals their own key; the first query is shown", "weight of a key",
                   printed[0, 0, :16], right[0, 0, :16], facts, labels=tuple(map(str, range(1, 17))),
                   axis="key; the first one matches")  # fmt: skip


def _bits(attention: Tensor) -> float:
    """Compute the mean entropy of attention rows (..., L), in bits."""
    return float(-(attention * attention.log2()).sum(-1).mean())


@erratum(
    "grad-norm-gradients",
    title="GradNorm tunes the weights of tasks",
    claim="GradNorm normalizes the gradient vectors in backpropagation.",
    printed=r"g_i \leftarrow \wrong{\frac{g_i}{\lVert g_i \rVert_2}}",
    right=r"\begin{gathered}\good{w} \leftarrow \arg\min_{\good{w}} \sum_i \Big| w_i \lVert g_i \rVert_2"
    r" - \bar G\, r_i^\alpha \Big| \\[1em] \textstyle\sum_i \good{w_i} = T\end{gathered}",
    why="GradNorm is for networks with several tasks. It does not change the direction or length of the gradients "
    "that backpropagation computes. It adjusts the weights w of the task losses, so that no task dominates the "
    "others and slower tasks get larger weights. Dividing each gradient by its length ignores which task is "
    "slower, and the steps never become small.",
    methods=("grad_norm",),
)
def grad_norm_gradients() -> Outcome:
    """Three tasks with gradients of length 2, 1 and 0.5; the third one has learned least."""
    lengths = torch.tensor([2.0, 1.0, 0.5]).double()  # (T,) lengths of the unweighted gradients
    start, losses = torch.ones(3).double(), torch.tensor([0.2, 0.4, 0.8]).double()  # (T,), (T,)
    weights = torch.ones(3).double()  # (T,)
    for _ in range(300):
        weights = grad_norm(weights, lengths, losses, start, alpha=0.5, lr=0.006)  # (T,)
    printed, right = lengths / lengths, weights * lengths  # (T,), (T,)
    facts = (
        Comparison("gradient length, task 3 / task 1", float(printed[2] / printed[0]), float(right[2] / right[0])),
        Comparison("weight of task 3", None, float(weights[2])),
        Comparison("sum of the weights", None, float(weights.sum())),
    )
    return Outcome("gradients of length 2, 1 and 0.5; losses reduced to 20%, 40% and 80%; α = 0.5",
                   "length of the task gradient", printed, right, facts,
                   labels=("task 1", "task 2", "task 3"))  # fmt: skip


@erratum(
    "exploding-gradients",
    title="Batch norm and exploding gradients",
    claim="Batch normalization prevents exploding gradients.",
    printed=r"\mathrm{E}\lVert g_{l} \rVert^2 \wrong{\;\le\;} \mathrm{E}\lVert g_{l+1} \rVert^2",
    right=r"\mathrm{E}\lVert g_{l} \rVert^2 \approx \good{\frac{\pi}{\pi - 1}}\,\mathrm{E}\lVert g_{l+1} \rVert^2",
    why="In a deep network without skip connections, batch norm makes gradients explode. In the backward pass, a "
    "ReLU halves the squared gradient. Batch norm then divides by the variance that the ReLU leaves, which is "
    "less than one half: (1 - 1/π)/2. The squared gradient therefore grows by a factor of π/(π - 1) = 1.467 per "
    "layer, tens of thousands of times over 30 layers. The same network without batch norm and with He "
    "initialization keeps it roughly constant. Batch norm needs skip connections to work in deep networks.",
    methods=("batch_norm",),
)
def exploding_gradients() -> Outcome:
    """Thirty layers of linear, batch norm and ReLU: the squared gradient at each layer's input."""
    plain, normed = _gradients(normalize=False), _gradients(normalize=True)  # (31,), (31,)
    growth = [math.exp(float((y[5].log() - y[25].log()) / 20)) for y in (plain, normed)]
    facts = (
        Comparison("growth of the squared gradient per layer", *growth),
        Comparison("theory, π/(π − 1)", None, math.pi / (math.pi - 1), digits=4),
        Comparison("growth from the last layer back to the second", *(float(y[1] / y[-1]) for y in (plain, normed))),
    )
    return Outcome("30 layers of 256 units, a batch of 256, random weights", "squared gradient (output = 1)",
                   plain / plain[-1], normed / normed[-1], facts, at=tuple(range(31)),
                   axis="layer, from input to output", names=("without batch norm", "with batch norm"),
                   growing=True)  # fmt: skip


def _gradients(normalize: bool, depth: int = 30, width: int = 256, batch: int = 256) -> Tensor:
    """Compute the squared gradient (depth + 1,) at each layer input and at the output, which gets a random gradient."""
    h = seeded_normal(batch, width, seed=9).float().requires_grad_()  # (N, D)
    inputs = [h]
    for layer in range(depth):
        weight = seeded_normal(width, width, seed=100 + layer, std=(2 / width) ** 0.5).float()  # (D, D)
        z = inputs[-1] @ weight.T  # (N, D)
        inputs.append((batch_norm(z, eps=EPS) if normalize else z).relu())  # (N, D)
    arriving = seeded_normal(batch, width, seed=10).float()  # (N, D)
    gradients = torch.autograd.grad(inputs[-1], inputs, arriving)  # depth + 1 of (N, D)
    return torch.stack([g.square().sum() for g in gradients]).double()  # (depth + 1,)
