from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from features.encoder.encoder import Encoder, load_encoder
from features.finetune.export import save_encoder
from features.finetune.tuning import tune
from recsys import config
from recsys.errors import EncoderError

TEXTS = ["w1 w2 w3", "w4", "w5 w6 w7 w8 w9"]


def read(folder: Path) -> Encoder:
    return load_encoder(config.EncoderSettings(model=str(folder), precision="fp32"))


def with_bottlenecks(encoder: Encoder) -> Encoder:
    tuning = tune(encoder.model, config.FinetuneSettings(mode="adapter", bottleneck=8), 1, seed=0)
    with torch.no_grad():
        for name, weight in encoder.model.named_parameters():
            if name.startswith("bottlenecks"):
                weight.add_(0.1)
    tuning.merge()
    return encoder


def test_a_saved_encoder_says_the_same_when_read_again(encoder: Encoder, tmp_path: Path) -> None:
    with torch.no_grad():
        next(encoder.model.parameters()).add_(0.1)
    digest = save_encoder(encoder, tmp_path / "tuned", max_tokens=50)
    again = read(tmp_path / "tuned")
    assert (again.sha256, again.pooling) == (digest, encoder.pooling)
    assert digest != encoder.sha256
    np.testing.assert_array_equal(again.encode(TEXTS), encoder.encode(TEXTS))
    assert list(tmp_path.iterdir()) == [tmp_path / "tuned"]  # no draft is left


def test_sentence_transformers_reads_it_too(encoder: Encoder, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    save_encoder(encoder, tmp_path / "tuned", max_tokens=50)
    peer = SentenceTransformer(str(tmp_path / "tuned"), device="cpu", local_files_only=True)
    assert peer.max_seq_length == 50
    np.testing.assert_allclose(peer.encode(TEXTS, show_progress_bar=False), encoder.encode(TEXTS), atol=1e-5)


def test_bottlenecks_are_saved_beside_the_weights_and_read_with_them(
    encoder: Encoder, load: Callable[[], Encoder], tmp_path: Path
) -> None:
    plain = load().encode(TEXTS)
    adapted = with_bottlenecks(encoder)
    save_encoder(adapted, tmp_path / "tuned")
    again = read(tmp_path / "tuned")
    np.testing.assert_array_equal(again.encode(TEXTS), adapted.encode(TEXTS))
    assert np.abs(again.encode(TEXTS) - plain).max() > 0.01


def test_the_digest_covers_bottlenecks(encoder: Encoder, tmp_path: Path) -> None:
    digest = save_encoder(with_bottlenecks(encoder), tmp_path / "tuned")
    weights = tmp_path / "tuned" / "bottlenecks.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(EncoderError, match="altered"):
        load_encoder(config.EncoderSettings(model=str(tmp_path / "tuned"), sha256=digest))
    weights.unlink()
    with pytest.raises(EncoderError, match="altered"):
        load_encoder(config.EncoderSettings(model=str(tmp_path / "tuned"), sha256=digest))


@pytest.mark.parametrize("breakage", ["torn", "of another model", "something else"])
def test_bottlenecks_that_cannot_be_used_are_refused(breakage: str, encoder: Encoder, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    save_encoder(with_bottlenecks(encoder), tmp_path / "tuned")
    file = tmp_path / "tuned" / "bottlenecks.safetensors"
    weights = load_file(file)
    match breakage:
        case "torn":
            file.write_bytes(b"torn")
        case "of another model":
            save_file({name: value for name, value in weights.items() if name.startswith("0.")}, file)
        case "something else":
            save_file({"x": torch.zeros(1)}, file)
    with pytest.raises(EncoderError, match="cannot be loaded"):
        read(tmp_path / "tuned")


def test_equal_weights_give_equal_files(encoder: Encoder, tmp_path: Path) -> None:
    assert save_encoder(encoder, tmp_path / "a") == save_encoder(encoder, tmp_path / "b")


def test_what_was_there_is_replaced(encoder: Encoder, tmp_path: Path) -> None:
    save_encoder(encoder, tmp_path / "tuned")
    (tmp_path / "tuned" / "bottlenecks.safetensors").write_bytes(b"of an older one")
    save_encoder(encoder, tmp_path / "tuned")
    np.testing.assert_array_equal(read(tmp_path / "tuned").encode(TEXTS), encoder.encode(TEXTS))


def test_updates_that_are_not_merged_are_refused(encoder: Encoder, tmp_path: Path) -> None:
    tune(encoder.model, config.FinetuneSettings(mode="lora"), 1, seed=0)
    with pytest.raises(EncoderError, match="24 low-rank updates are not merged"):
        save_encoder(encoder, tmp_path / "tuned")
    assert not list(tmp_path.iterdir())
