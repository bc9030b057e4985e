"""Small networks that are difficult for attribution tools: kinds of ReLU, in-place operations, types of output."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PooledNet(nn.Module):
    """conv -> ReLU -> global average pooling -> linear, with closed forms for all methods."""

    def __init__(self, channels: int = 6, classes: int = 4) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 3, padding=1)
        self.relu = nn.ReLU()
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.relu(self.conv(x)).mean(dim=(2, 3)))  # type: ignore[no-any-return]


class ReluNet(nn.Module):
    """Two convolutions with batch norm, max-pooling and a hidden linear layer, with a given ReLU.

    The output of the second normalization is modified in place (`+=`) before its ReLU.
    """

    def __init__(self, activation: Callable[[Tensor], Tensor], classes: int = 5) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(8)
        self.pool = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(8)
        self.hidden = nn.Linear(8 * 16, 16)
        self.fc = nn.Linear(16, classes)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.activation(self.bn1(self.conv1(x))))
        out = self.bn2(self.conv2(x))
        out += x
        out = self.activation(out)
        out = F.adaptive_avg_pool2d(out, 4).flatten(1)
        return self.fc(self.activation(self.hidden(out)))  # type: ignore[no-any-return]


class ForgetfulNet(ReluNet):
    """In-place ReLUs with ignored return values."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn1(self.conv1(x))
        torch.relu_(x)
        x = self.pool(x)
        out = self.bn2(self.conv2(x))
        out += x
        out.relu_()
        hidden = self.hidden(F.adaptive_avg_pool2d(out, 4).flatten(1))
        F.relu(hidden, inplace=True)
        return self.fc(hidden)  # type: ignore[no-any-return]


class AttentionNet(nn.Module):
    """One transformer block on 16 patches and a class token: fused attention, LayerNorm, GELU, constants added."""

    def __init__(self, width: int = 8, classes: int = 4) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, width, 3, stride=3)
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.place = nn.Parameter(torch.randn(1, 17, width))
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 16), nn.GELU(), nn.Linear(16, width))
        self.fc = nn.Linear(width, classes)

    def rest(self, maps: Tensor) -> Tensor:
        """The logits from the embedded patches (N, width, 4, 4)."""
        tokens = maps.flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(maps), -1, -1), tokens], dim=1) + self.place
        q, k, v = self.qkv(self.norm1(x)).unflatten(2, (3, 2, -1)).permute(2, 0, 3, 1, 4)
        x = x + F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + self.mlp(self.norm2(x))
        return self.fc(x[:, 0])  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        return self.rest(self.embed(x))


class WrappedNet(nn.Module):
    """Returns an object or a dictionary with the logits."""

    def __init__(self, net: nn.Module, as_dict: bool) -> None:
        super().__init__()
        self.net = net
        self.as_dict = as_dict

    def forward(self, x: Tensor) -> dict[str, Tensor] | SimpleNamespace:
        logits = self.net(x)
        return {"logits": logits} if self.as_dict else SimpleNamespace(logits=logits)


ACTIVATIONS: dict[str, Callable[[], Callable[[Tensor], Tensor]]] = {
    "module": nn.ReLU,  # one module, run three times
    "in-place module": lambda: nn.ReLU(inplace=True),
    "functional": lambda: F.relu,
    "torch": lambda: torch.relu,
    "method": lambda: Tensor.relu,
    "in-place method": lambda: Tensor.relu_,
    "clamp": lambda: _clamp,
}


def _clamp(x: Tensor) -> Tensor:
    return x.clamp(min=0)


def relu_net(kind: str = "module", dtype: torch.dtype = torch.float64, seed: int = 0) -> ReluNet:
    """A ReluNet with random weights and running statistics, in training mode, its parameters unfrozen."""
    torch.manual_seed(seed)
    net = ForgetfulNet(torch.relu) if kind == "forgetful" else ReluNet(ACTIVATIONS[kind]())
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.3)
            nn.init.normal_(module.bias, 0.0, 0.3)
            assert module.running_mean is not None and module.running_var is not None  # BatchNorm2d tracks them
            module.running_mean.normal_(0.0, 0.3)
            module.running_var.uniform_(0.5, 2.0)
    return net.to(dtype)


def pooled_net(dtype: torch.dtype = torch.float64, seed: int = 0) -> PooledNet:
    """A PooledNet with random weights, in training mode, its parameters unfrozen."""
    torch.manual_seed(seed)
    return PooledNet().to(dtype)


def pictures(count: int = 2, size: int = 12, dtype: torch.dtype = torch.float64, seed: int = 1) -> Tensor:
    """Random images (N, 3, size, size)."""
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed), dtype=dtype)
