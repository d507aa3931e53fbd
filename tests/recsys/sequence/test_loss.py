import numpy as np
import pytest
import torch

from recsys.sequence import loss
from recsys.sequence.loss import Proposal, candidate_softmax, sample_candidates


@pytest.mark.parametrize("chunk_logits", [1, 14, 1000])
def test_the_loss_and_its_gradients_are_those_of_cross_entropy(chunk_logits: int, monkeypatch) -> None:
    monkeypatch.setattr(loss, "CHUNK_LOGITS", chunk_logits)
    torch.manual_seed(0)
    queries, candidates = torch.randn(5, 4, requires_grad=True), torch.randn(7, 4, requires_grad=True)
    targets = torch.tensor([0, 6, 6, 2, 3])
    ours = candidate_softmax(queries, candidates, targets, None, 0.5) * 3
    gradients = torch.autograd.grad(ours, [queries, candidates])
    expected_loss = torch.nn.functional.cross_entropy(queries @ candidates.T / 0.5, targets) * 3
    torch.testing.assert_close(ours, expected_loss)
    for gradient, expected in zip(gradients, torch.autograd.grad(expected_loss, [queries, candidates]), strict=True):
        torch.testing.assert_close(gradient, expected)


def test_offsets_correct_rivals_but_never_the_target() -> None:
    """Cosines 1 (the target), 0 and 0; the rivals stand for 3 items and for none: log(e + 3) - 1."""
    queries, candidates = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    offsets = torch.tensor([-9.0, np.log(3.0), -np.inf])
    loss = candidate_softmax(queries, candidates, torch.tensor([0]), offsets, 1.0)
    assert float(loss) == pytest.approx(np.log(np.e + 3) - 1)


def test_sampled_candidates_stand_for_the_whole_catalogue() -> None:
    """Weighed by exp(offset), a sample of any items sums, on average, to the sum over all that may be drawn."""
    proposal, values = Proposal(np.array([9, 4, 0, 1, 1])), np.array([1.0, 2.0, 50.0, 3.0, 4.0])
    rng = np.random.default_rng(0)
    sums = []
    for _ in range(4000):
        rows, offsets = sample_candidates(proposal, 3, np.array([2]), rng)
        assert 2 in rows  # needed, though it is never drawn: it counts for nothing as a rival
        sums.append(float(np.exp(offsets) @ values[rows]))
    assert np.mean(sums) == pytest.approx(1 + 2 + 3 + 4, rel=0.03)
