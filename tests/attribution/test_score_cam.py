"""Score-CAM: chunks, shared passes, progress, notes, folded batch norms and bfloat16."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from normviz.attribution import Probe, score_cam
from normviz.attribution.engine.network import read_output
from normviz.attribution.engine.scorer import Scorer
from normviz.attribution.methods import perturbation
from normviz.attribution.targets import Difference
from tests.attribution.test_attribution import CONVENTIONS, TARGETS, close
from tests.reference import attribution as reference
from tests.support.nets import PooledNet, pictures, pooled_net, relu_net

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def probe() -> Probe:
    """Two images and a conv -> ReLU -> pooling -> linear network."""
    return Probe(pooled_net(), pictures(), TARGETS)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("chunk", [1, 3, 8, 100])
def test_the_chunk_changes_nothing(convention: perturbation.Convention, chunk: int) -> None:
    probe = Probe(relu_net(), pictures(), TARGETS, "pool")
    close(score_cam(probe, convention=convention, chunk=chunk), score_cam(probe, convention=convention), 1e-12)


def test_score_cam_never_runs_more_than_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded by the chunk: no forward pass is larger, whatever the number of channels."""
    sizes: list[int] = []

    def watched(net: nn.Module, images: Tensor) -> object:
        sizes.append(len(images))
        return read_output(net, images)

    monkeypatch.setattr("normviz.attribution.engine.scorer.read_output", watched)
    torch.manual_seed(0)
    score_cam(Probe(PooledNet(channels=67).double(), pictures(1), 0, "conv"), chunk=16)
    assert sizes == [16, 16, 16, 16, 3]


def test_constant_channels_share_one_pass_and_the_official_code_skips_them(monkeypatch: pytest.MonkeyPatch) -> None:
    net = pooled_net()
    with torch.no_grad():
        net.conv.weight[1:3] = 0.0  # two channels are their bias everywhere
        net.get_parameter("conv.bias")[1:3] = torch.tensor([0.5, 1.5])
    sizes: list[int] = []

    def watched(net: nn.Module, images: Tensor) -> object:
        sizes.append(len(images))
        return read_output(net, images)

    monkeypatch.setattr("normviz.attribution.engine.scorer.read_output", watched)
    probe = Probe(net, pictures(1), 1, "relu")
    for convention, passes in (("logit", [4, 1]), ("official", [4])):
        sizes.clear()
        ours = score_cam(probe, convention=convention)  # type: ignore[arg-type]
        assert sizes == passes
        close(ours[0], reference.score_cam(net.eval(), probe.images[0], 1, "relu", convention))


def test_progress_ends_at_one_and_may_cancel() -> None:
    probe = Probe(relu_net(), pictures(), TARGETS, "pool")
    shares: list[float] = []
    score_cam(probe, chunk=3, progress=shares.append)
    assert shares == sorted(shares) and len(shares) == 6 and shares[-1] == 1.0

    def stop(share: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_cam(probe, progress=stop)
    assert score_cam(probe).any()


def test_score_cam_refuses_what_it_does_not_offer(probe: Probe) -> None:
    with pytest.raises(ValueError, match="chunk must be at least 1; received 0"):
        score_cam(probe, chunk=0)
    with pytest.raises(ValueError, match="supports logit, paper, official; received 'softmax'"):
        score_cam(probe, convention="softmax")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="supports full, auto, bfloat16; received 'half'"):
        score_cam(probe, precision="half")  # type: ignore[arg-type]


def test_the_note_says_how_it_was_computed() -> None:
    notes: list[str] = []
    score_cam(Probe(relu_net(), pictures(), TARGETS, "pool"), note=notes.append)
    assert notes == [
        "Convention “logit”: the score is the logit, the weights are its softmax over the channels. "
        "Scores computed in float64; batch norms folded: 2."
    ]
    score_cam(Probe(pooled_net(), pictures(), TARGETS), note=notes.append)
    assert notes[1].endswith(". Scores computed in float64; no batch norm to fold.")


def test_the_note_names_the_convention(probe: Probe) -> None:
    found: dict[str, str] = {}
    for convention in CONVENTIONS:
        score_cam(probe, convention, note=lambda said, name=convention: found.update({name: said}))  # type: ignore[misc]
    by_softmax = "the score is the class's probability, the weights are its softmax over the channels. "
    assert found["paper"].startswith(f"Convention “paper”: {by_softmax}")
    assert found["official"].startswith(
        "Convention “official”: the score is the class's probability, and is the weight. "
    )
    score_cam(Probe(pooled_net(), pictures(), Difference(1, 2)), note=lambda said: found.update(other=said))
    assert found["other"].startswith("Convention “logit”: the score is the value of the target")


def test_batch_norms_are_folded_only_where_they_alone_read_the_convolution() -> None:
    class Read(nn.Module):
        """Uses the convolution twice, so that it cannot be folded."""

        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 6, 3)
            self.bn = nn.BatchNorm2d(6)
            self.fc = nn.Linear(6, 4)

        def forward(self, x: Tensor) -> Tensor:
            x = self.conv(x)
            return self.fc((self.bn(x) * x).relu().mean(dim=(2, 3)))  # type: ignore[no-any-return]

    torch.manual_seed(0)
    net, notes = Read().double(), list[str]()
    net.bn.running_var = torch.full((6,), 4.0, dtype=torch.float64)
    probe = Probe(net, pictures(1), 1, "bn")
    ours = score_cam(probe, note=notes.append)
    assert "no batch norm to fold" in notes[0]
    close(ours[0], reference.score_cam(net.eval(), probe.images[0], 1, "bn"))


def test_bfloat16_is_close_and_labeled() -> None:
    probe = Probe(relu_net(dtype=torch.float32), pictures(dtype=torch.float32), TARGETS, "pool")
    notes: list[str] = []
    full, half = score_cam(probe), score_cam(probe, precision="bfloat16", note=notes.append)
    assert "Scores computed in bfloat16" in notes[0]
    assert 0 < (half - full).norm() <= 0.01 * full.norm()


@pytest.mark.parametrize(
    ("seconds", "moved", "chosen"), [(0.4, 0.01, "bfloat16"), (0.95, 0.01, "float32"), (0.4, 0.2, "float32")]
)
def test_auto_takes_bfloat16_only_where_it_is_faster_and_close(
    seconds: float, moved: float, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = iter([(1.0, torch.ones(1)), (9.0, torch.zeros(1)), (seconds, torch.ones(1) + moved)])
    monkeypatch.setattr(Scorer, "_timed", lambda self, pictures: next(trials))
    probe = Probe(relu_net(dtype=torch.float32), pictures(dtype=torch.float32), TARGETS, "pool")
    notes: list[str] = []
    heatmap = score_cam(probe, precision="auto", chunk=1, note=notes.append)
    assert f"Scores computed in {chosen}; 1 channels took 1000 ms in float32" in notes[0]
    assert f"relative error of {moved:.1%}" in notes[0]
    if chosen == "float32":
        close(heatmap, score_cam(probe), 1e-6)


def test_auto_says_where_bfloat16_is_not_tried_or_not_possible() -> None:
    notes: list[str] = []
    score_cam(Probe(relu_net(), pictures(), TARGETS, "pool"), precision="auto", note=notes.append)
    assert "bfloat16 not tried" in notes[0]

    class Insists(PooledNet):
        def forward(self, x: Tensor) -> Tensor:
            return F.linear(super().forward(x), torch.eye(4))  # in float32 only

    torch.manual_seed(0)
    probe = Probe(Insists(), pictures(dtype=torch.float32), TARGETS, "relu")
    heatmap = score_cam(probe, precision="auto", chunk=1, note=notes.append)
    assert "float32; bfloat16 is not supported" in notes[1]
    close(heatmap, score_cam(probe), 1e-6)
    with pytest.raises(ValueError, match="cannot process images"):
        score_cam(probe, precision="bfloat16")
