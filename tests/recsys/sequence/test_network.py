import torch
from sequence_data import SMALL_AUTO

from recsys.sequence.network import Network, Shape


def test_what_comes_later_does_not_change_what_was_read_before() -> None:
    torch.manual_seed(0)
    network = Network(Shape.of(5, 0, SMALL_AUTO)).eval()
    entries, zeros = torch.randn(1, 4, 16), torch.zeros(1, 4, dtype=torch.int64)
    with torch.inference_mode():
        before = network(entries, zeros, zeros)
        entries[0, 3] = torch.randn(16)
        after = network(entries, zeros, zeros)
    torch.testing.assert_close(after[0, :3], before[0, :3])
    assert not torch.allclose(after[0, 3], before[0, 3])


def test_an_item_is_its_id_and_its_text_and_zero_without_either() -> None:
    network = Network(Shape.of(3, 4, SMALL_AUTO))
    with torch.inference_mode():
        network.ids.weight.zero_()[:, 5] = 3.0
        text = torch.tensor([[4.0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
        items = network.items(torch.arange(3), text, torch.tensor([True, True, False]))
    # the adapter starts as the text's own leading dimensions
    expected = torch.zeros(3, 16)
    expected[0, 0], expected[0, 5], expected[1, 5] = 0.8, 0.6, 1.0
    torch.testing.assert_close(items, expected)
