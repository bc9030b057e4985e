"""Errata of weights, transformers, training and depth."""

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
    """Power iteration as it is often printed: x <- Wx / ||Wx||; the last ||Wx|| and x.

    Args:
        weight: (n, n).
        x: (n,), the start, of length 1.
        steps: how often.

    Raises:
        RuntimeError: the weight is not square, so that Wx cannot be multiplied by W again.
    """
    stretch = torch.zeros((), dtype=weight.dtype)  # ()
    for _ in range(steps):
        x = weight @ x  # (n,)
        stretch = x.norm()  # ()
        x = x / stretch.clamp_min(1e-300)  # (n,)
    return float(stretch), x


def sigma(weight: Tensor, steps: int = 200) -> float:
    """The number by which the registered spectral norm divides."""
    return float(weight.norm() / spectral_norm(weight, steps=steps)[0].norm())


def _start(size: int) -> Tensor:
    return torch.full((size,), size**-0.5, dtype=torch.float64)  # (n,)


@erratum(
    "power-iteration-shape",
    title="Power iteration: a matrix that is not square",
    printed=r"x \leftarrow \frac{\wrong{W x}}{\lVert \wrong{W x} \rVert_2}",
    right=BACK_AND_FORTH + r"\end{gathered}",
    why="W leads from the inputs to the outputs, so W x is a vector of outputs and W cannot be applied to it again "
    "unless there happen to be as many outputs as inputs. Going forth with W and back with its transpose works "
    "for every shape.",
    methods=("spectral_norm",),
)
def power_iteration_shape() -> Outcome:
    """The one-sided iteration on weights that have more inputs than outputs, or fewer."""
    shapes = ((3, 5), (6, 4), (8, 2))
    weights = [seeded_normal(*shape, seed=k) for k, shape in enumerate(shapes, start=1)]  # each (out, in)
    right = torch.tensor([sigma(weight) for weight in weights]).double()  # (3,)
    try:
        printed = torch.tensor([one_sided(weight, _start(weight.shape[1]), 20)[0] for weight in weights]).double()
        refusal = ""
    except RuntimeError as error:
        printed, refusal = None, f"W x has 3 numbers and W takes 5, so the second step is refused ({error})"
    labels = tuple(f"{rows} × {columns}" for rows, columns in shapes)
    facts = (
        Comparison(
            "largest stretch σ of the 3 × 5 matrix", None if printed is None else float(printed[0]), float(right[0])
        ),
    )
    return Outcome("three random weights, outputs × inputs", "largest stretch σ", printed, right, facts,
                   labels=labels, refusal=refusal)  # fmt: skip


@erratum(
    "power-iteration-shear",
    title="Power iteration: a shear",
    printed=r"x \leftarrow \frac{\wrong{W x}}{\lVert \wrong{W x} \rVert_2},\quad \sigma = \lVert W x \rVert_2",
    right=BACK_AND_FORTH + r"\\[1em] \sigma = u^\top W v\end{gathered}",
    why="Applying W again and again finds the direction that W keeps, and how much that one is stretched: an "
    "eigenvalue. A shear keeps the first axis and stretches it by 1, though it stretches another direction by "
    "more than 10. Divided by 1, the layer would go on stretching by 10.",
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
    why="This matrix moves the second number into the first place and drops the first: it stretches by 1, and applied "
    "twice it gives 0. So the one-sided iteration arrives at 0 after two steps and divides by it.",
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
    why="The largest eigenvalue (its size is called the spectral radius) tells how a vector grows when W is applied "
    "many times. A layer is applied once, and then what counts is the largest singular value, the most by which any "
    "vector can be stretched. Both agree for symmetric matrices only; elsewhere the eigenvalue is the smaller one, "
    "and the layer is not tamed.",
    methods=("spectral_norm",),
)
def spectral_radius() -> Outcome:
    """Eigenvalues and singular values of four matrices."""
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
        Comparison("shear: what the weight is divided by", float(printed[2]), float(right[2]), digits=5),
        Comparison(
            "random: how far the divided weight still stretches", float(right[1] / printed[1]), sigma(random / right[1])
        ),
    )
    return Outcome("four square matrices", "what the weight is divided by", printed, right, facts,
                   labels=tuple(weights))  # fmt: skip


@erratum(
    "scale-norm-shared",
    title="ScaleNorm: one length for every place",
    claim="ScaleNorm multiplies by one learned number, shared by all places of the network.",
    printed=r"y_l = \wrong{g}\,\frac{x_l}{\lVert x_l \rVert_2}",
    right=r"y_l = \good{g_l}\,\frac{x_l}{\lVert x_l \rVert_2}",
    why="Each place in the network that normalizes has a number g of its own. What follows one place may want long "
    "vectors, what follows another short ones: a single number can only fit their average.",
    methods=("scale_norm",),
)
def scale_norm_shared() -> Outcome:
    """Three places that want vectors of different lengths: g by least squares, shared and of their own."""
    wanted = (2.0, 5.0, 11.0)
    x = seeded_normal(3, 128, 16, seed=3)  # (places, N, D)
    units = torch.stack([scale_norm(place, torch.ones(()).double()) for place in x])  # (places, N, D)
    targets = units * torch.tensor(wanted).double()[:, None, None] + seeded_normal(3, 128, 16, seed=4, std=0.1)
    best = (units * targets).sum((1, 2)) / units.square().sum((1, 2))  # (places,) the least squares of each
    shared = best.mean().expand(3)  # (places,) every place has as many units
    ys = [torch.stack([scale_norm(place, length) for place, length in zip(x, g, strict=True)]) for g in (shared, best)]
    off = [float((y - targets).square().sum(2).mean().sqrt()) for y in ys]
    lengths = [y.norm(dim=2).mean(1) for y in ys]  # (places,), (places,)
    facts = (
        Comparison("distance from the wanted vectors (rms)", off[0], off[1]),
        Comparison("length at the third place", float(lengths[0][2]), float(lengths[1][2])),
    )
    return Outcome("three places that want vectors of length 2, 5 and 11", "length of the vectors after",
                   lengths[0], lengths[1], facts, labels=("place 1", "place 2", "place 3"))  # fmt: skip


@erratum(
    "fix-norm-activations",
    title="FixNorm acts on word embeddings",
    claim="FixNorm normalizes the vectors that leave the transformer.",
    printed=r"\text{score}_w = e_w \cdot \wrong{g\,\frac{h}{\lVert h \rVert_2}}",
    right=r"\text{score}_w = \good{g\,\frac{e_w}{\lVert e_w \rVert_2}} \cdot h",
    why="A word's score is the product of its embedding with the network's vector h. Frequent words grow long "
    "embeddings, and so win against rare words that would fit better. Only the words' own lengths can put that "
    "right; dividing h changes the scores of all words by one factor, and the winner stays the same.",
    methods=("fix_norm",),
)
def fix_norm_activations() -> Outcome:
    """Six words whose embeddings are the shorter, the rarer the word; which of them wins how often?"""
    lengths = torch.tensor([3.0, 2.4, 1.8, 1.3, 0.9, 0.5]).double()  # (V,)
    words = fix_norm(seeded_normal(6, 32, seed=6)) * lengths[:, None]  # (V, D)
    contexts = seeded_normal(4000, 32, seed=7)  # (N, D)
    scores = words @ fix_norm(contexts).T, fix_norm(words) @ contexts.T  # (V, N), (V, N)
    wins = [F.one_hot(score.argmax(0), 6).double().mean(0) for score in scores]  # (V,), (V,)
    facts = (
        Comparison("share of the contexts that the rarest word wins", float(wins[0][-1]), float(wins[1][-1])),
        Comparison("share that the most frequent word wins", float(wins[0][0]), float(wins[1][0])),
    )
    return Outcome("6 words, frequent ones with long embeddings; 4,000 contexts of all directions",
                   "share of the contexts won", wins[0], wins[1], facts, labels=tuple("ABCDEF"),
                   axis="word, the most frequent first")  # fmt: skip


@erratum(
    "qk-norm-scale",
    title="QKNorm without its scale",
    printed=r"\mathrm{softmax}\big(\wrong{\hat Q \hat K^\top}\big) V",
    right=r"\mathrm{softmax}\big(\good{g}\,\hat Q \hat K^\top\big) V,\quad g_0 = \log_2(L^2 - L)",
    why="Queries and keys of length 1 give scores from -1 to 1. A softmax of such scores is nearly flat: even the one "
    "key that fits perfectly gets only about e times the weight of one at a right angle, and with many keys that "
    "is next to nothing. The learned factor g makes room for sharp attention.",
    methods=("qk_norm",),
)
def qk_norm_scale() -> Outcome:
    """64 tokens that look for themselves: each query is its own token's key."""
    tokens = seeded_normal(1, 64, 32, seed=8)  # (N, L, D)
    unit, every = F.normalize(tokens, dim=-1), torch.eye(64, dtype=tokens.dtype)[None]  # (N, L, D), (N, L, L)
    printed = (unit @ unit.mT).softmax(-1)  # (N, L, L)
    right = qk_norm(tokens, tokens, every)  # (N, L, L), the weights themselves
    facts = (
        Comparison("weight of the key that fits", *(float(a.diagonal(0, 1, 2).mean()) for a in (printed, right))),
        Comparison("spread of the attention (entropy, of 6 bits)", _bits(printed), _bits(right)),
        Comparison("g at the start for 64 tokens", None, math.log2(64**2 - 64)),
    )
    return Outcome("64 tokens whose query equals their own key; shown is the first query", "weight of a key",
                   printed[0, 0, :16], right[0, 0, :16], facts, labels=tuple(map(str, range(1, 17))),
                   axis="key; the first one fits")  # fmt: skip


def _bits(attention: Tensor) -> float:
    """The mean entropy of rows (..., L) of weights, in bits."""
    return float(-(attention * attention.log2()).sum(-1).mean())


@erratum(
    "grad-norm-gradients",
    title="GradNorm tunes the weights of tasks",
    claim="GradNorm normalizes the gradient vectors in backpropagation.",
    printed=r"g_i \leftarrow \wrong{\frac{g_i}{\lVert g_i \rVert_2}}",
    right=r"\begin{gathered}\good{w} \leftarrow \arg\min_{\good{w}} \sum_i \Big| w_i \lVert g_i \rVert_2"
    r" - \bar G\, r_i^\alpha \Big| \\[1em] \textstyle\sum_i \good{w_i} = T\end{gathered}",
    why="GradNorm is for networks with several tasks. It leaves every gradient as backpropagation gives it, and "
    "adjusts the weights w of the tasks' losses, so that no task drowns the others and one that lags behind is given "
    "more. Dividing the gradients by their lengths forgets who lags behind, and makes steps that never grow small.",
    methods=("grad_norm",),
)
def grad_norm_gradients() -> Outcome:
    """Three tasks whose gradients are 2, 1 and .5 long; the third one has learned least."""
    lengths = torch.tensor([2.0, 1.0, 0.5]).double()  # (T,) of the gradients, before they are weighted
    start, losses = torch.ones(3).double(), torch.tensor([0.2, 0.4, 0.8]).double()  # (T,), (T,)
    weights = torch.ones(3).double()  # (T,)
    for _ in range(300):
        weights = grad_norm(weights, lengths, losses, start, alpha=0.5, lr=0.006)  # (T,)
    printed, right = lengths / lengths, weights * lengths  # (T,), (T,)
    facts = (
        Comparison("task 3's gradient against task 1's", float(printed[2] / printed[0]), float(right[2] / right[0])),
        Comparison("weight of task 3", None, float(weights[2])),
        Comparison("sum of the weights", None, float(weights.sum())),
    )
    return Outcome("gradients 2, 1 and ½ long; the losses have fallen to 20, 40 and 80 %; α = ½",
                   "length of the task's gradient", printed, right, facts,
                   labels=("task 1", "task 2", "task 3"))  # fmt: skip


@erratum(
    "exploding-gradients",
    title="Batch norm and exploding gradients",
    claim="Batch normalization prevents exploding gradients.",
    printed=r"\mathrm{E}\lVert g_{l} \rVert^2 \wrong{\;\le\;} \mathrm{E}\lVert g_{l+1} \rVert^2",
    right=r"\mathrm{E}\lVert g_{l} \rVert^2 \approx \good{\frac{\pi}{\pi - 1}}\,\mathrm{E}\lVert g_{l+1} \rVert^2",
    why="In a deep network without skip connections batch norm makes them explode. On the way back a ReLU lets "
    "half of the squared gradient pass, but batch norm divides by the variance that a ReLU leaves, and that "
    "is less than a half: (1 - 1/π)/2. So the squared gradient grows by π/(π - 1) = 1.467 a layer, tens of "
    "thousands of times over 30 layers. The same network without batch norm, started as He et al. propose, "
    "keeps it level. It takes skip connections to make batch norm work in deep networks.",
    methods=("batch_norm",),
)
def exploding_gradients() -> Outcome:
    """Thirty layers, linear, batch norm and ReLU: the squared gradient of each layer's input."""
    plain, normed = _gradients(normalize=False), _gradients(normalize=True)  # (31,), (31,)
    growth = [math.exp(float((y[5].log() - y[25].log()) / 20)) for y in (plain, normed)]
    facts = (
        Comparison("growth of the squared gradient, a layer", *growth),
        Comparison("in theory, π/(π − 1)", None, math.pi / (math.pi - 1), digits=4),
        Comparison("from the last layer back to the second", *(float(y[1] / y[-1]) for y in (plain, normed))),
    )
    return Outcome("30 layers of 256 units, a batch of 256, random weights", "squared gradient (last = 1)",
                   plain / plain[-1], normed / normed[-1], facts, at=tuple(range(31)),
                   axis="layer, from the input to the output", names=("without batch norm", "with batch norm"),
                   growing=True)  # fmt: skip


def _gradients(normalize: bool, depth: int = 30, width: int = 256, batch: int = 256) -> Tensor:
    """The squared gradient (depth + 1,) at the input of each layer and at the output, for a random gradient there."""
    h = seeded_normal(batch, width, seed=9).float().requires_grad_()  # (N, D)
    inputs = [h]
    for layer in range(depth):
        weight = seeded_normal(width, width, seed=100 + layer, std=(2 / width) ** 0.5).float()  # (D, D)
        z = inputs[-1] @ weight.T  # (N, D)
        inputs.append((batch_norm(z, eps=EPS) if normalize else z).relu())  # (N, D)
    arriving = seeded_normal(batch, width, seed=10).float()  # (N, D)
    gradients = torch.autograd.grad(inputs[-1], inputs, arriving)  # depth + 1 of (N, D)
    return torch.stack([g.square().sum() for g in gradients]).double()  # (depth + 1,)
