import numpy as np
import pytest
import torch

from recsys.sequence.network import Network, Shape
from recsys.sequence.reader import Reader


def network_of(layers: int, dim: int = 64, max_length: int = 20) -> Network:
    torch.manual_seed(3)
    network = Network(Shape(5, 0, dim, layers, max_length, dropout=0.5, temperature=0.07)).eval()
    for parameter in network.parameters():  # what starts at zero or one would hide a mistake
        torch.nn.init.normal_(parameter, std=0.3)
    return network


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("length", [1, 2, 20])
def test_it_reads_what_the_network_reads(layers: int, length: int) -> None:
    network, rng = network_of(layers), np.random.default_rng(length)
    entries = rng.normal(size=(length, 64)).astype(np.float32)
    entries /= np.linalg.norm(entries, axis=1, keepdims=True)
    event_types, gaps = rng.integers(8, size=length), rng.integers(10, size=length)
    with torch.inference_mode():
        tensors = (torch.from_numpy(array)[None] for array in (entries, event_types, gaps))
        expected = network(*tensors)[0, -1].numpy()
    np.testing.assert_allclose(Reader.of(network).query(entries, event_types, gaps), expected, atol=2e-6)


def test_training_goes_on_to_be_seen() -> None:
    network = network_of(1)
    reader, entry = Reader.of(network), np.full((1, 64), 0.125, dtype=np.float32)
    before = reader.query(entry, np.zeros(1, int), np.zeros(1, int))
    with torch.no_grad():
        network.blocks[0].narrow.bias += 1.0
        network.output_norm.weight[0] += 1.0
    after = reader.query(entry, np.zeros(1, int), np.zeros(1, int))
    assert np.abs(after - before).max() > 0.01
