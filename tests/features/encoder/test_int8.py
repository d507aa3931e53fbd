"""8-bit encoders: the arithmetic by hand, and how near they stay."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from features.encoder.encoder import encoder_id, load_encoder
from features.encoder.int8 import Int8Linear, integer_product, quantize_layers, quantized_rows
from recsys.config import EncoderSettings as Settings
from recsys.errors import EncoderError

TEXTS = ["w1 w2 w3", "w4", "w5 w6 w7 w8 w9", "", "w1 w1 w30"]


def settings_of(folder: Path, **changes: object) -> Settings:
    return Settings.model_validate({"model": str(folder), "precision": "fp32", **changes})


def test_rows_have_scales_of_their_own() -> None:
    numbers, scale = quantized_rows(torch.tensor([[1.27, -0.635, 0.004], [0.0, 0.0, 0.0], [-254.0, 2.0, 1.1]]))
    assert numbers.tolist() == [[127, -64, 0], [0, 0, 0], [-127, 1, 1]]
    assert scale[[0, 2], 0].tolist() == pytest.approx([0.01, 2.0])


def test_a_map_of_whole_numbers_is_exact() -> None:
    linear = nn.Linear(2, 2)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[127.0, 1.0], [-3.0, 127.0]]))
        linear.bias.copy_(torch.tensor([0.5, -1.0]))
    inputs = torch.tensor([[[127.0, 2.0]], [[-5.0, -127.0]]])  # (2, 1, 2)
    assert torch.allclose(Int8Linear(linear)(inputs), linear(inputs), rtol=1e-6)


def test_integers_multiply_alike_with_and_without_instructions_for_it() -> None:
    rng = np.random.default_rng(0)
    a, b = (torch.from_numpy(rng.integers(-127, 128, size=size, dtype=np.int8)) for size in ((20, 96), (32, 96)))
    expected = a.numpy().astype(np.int64) @ b.numpy().astype(np.int64).T
    for native in (True, False):
        assert np.array_equal(integer_product(a, b, native=native).numpy(), expected)


def test_without_bias_and_in_half_precision() -> None:
    torch.manual_seed(0)
    linear = nn.Linear(64, 32, bias=False)
    inputs = torch.randn(5, 64)
    outputs = Int8Linear(linear)(inputs.bfloat16())
    assert outputs.dtype == torch.bfloat16
    assert torch.nn.functional.cosine_similarity(outputs.float(), linear(inputs)).min() > 0.999


def test_all_maps_of_the_layers_are_replaced(tiny_bert: Path) -> None:
    model = load_encoder(settings_of(tiny_bert)).model
    # in each of 2 layers: query, key, value, attention's output, and the two of the feed-forward part
    assert quantize_layers(model) == 12
    left = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    assert left == ["pooler.dense"]


def test_vectors_stay_near_full_precision(tiny_bert: Path) -> None:
    full, small = (load_encoder(settings_of(tiny_bert, precision=name)) for name in ("fp32", "int8"))
    a, b = full.encode(TEXTS), small.encode(TEXTS)
    nearness = (a * b).sum(axis=1)
    assert 0.99 < nearness.min() < 1.0
    assert np.linalg.norm(b, axis=1) == pytest.approx(np.ones(len(TEXTS)), abs=1e-5)


def test_a_token_does_not_feel_what_is_beside_it() -> None:
    torch.manual_seed(0)
    linear, token = Int8Linear(nn.Linear(64, 32)), torch.randn(1, 64)
    together = linear(torch.cat([token, 1000.0 * torch.randn(3, 64)]))
    assert torch.equal(linear(token)[0], together[0])


def test_int8_vectors_never_meet_others(tiny_bert: Path) -> None:
    full, half, small = (encoder_id(settings_of(tiny_bert, precision=name)) for name in ("fp32", "bf16", "int8"))
    assert full == half
    assert small == full.removesuffix("-16") + "-int8-16"
    assert load_encoder(settings_of(tiny_bert, precision="int8")).id == small


def test_layers_without_linear_maps_are_refused(tmp_path: Path, tiny_bert: Path) -> None:
    from transformers import AutoTokenizer, GPT2Config, GPT2Model

    AutoTokenizer.from_pretrained(tiny_bert).save_pretrained(tmp_path)
    GPT2Model(GPT2Config(vocab_size=44, n_embd=16, n_layer=1, n_head=2, n_positions=64)).save_pretrained(tmp_path)
    with pytest.raises(EncoderError, match="GPT2Model contain no linear maps"):
        load_encoder(settings_of(tmp_path, precision="int8"))
