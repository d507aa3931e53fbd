from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from features.encoder.encoder import Encoder, load_encoder
from features.encoder.projection import PROJECTION_FILE, insert_projection, projection, remove_projection
from features.finetune.export import save_encoder
from recsys import config
from recsys.errors import EncoderError

TEXTS = ["w1 w2 w3", "w4", "w5 w6 w7 w8 w9"]


@pytest.fixture
def encoder(bert_folder: Path) -> Encoder:
    return load_encoder(config.EncoderSettings(model=str(bert_folder), precision="fp32"))


def projected(encoder: Encoder) -> Encoder:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(encoder.dim, encoder.dim, generator=generator)
    insert_projection(encoder.model, weight, torch.randn(encoder.dim, generator=generator))
    return encoder


def test_vectors_go_through_the_projection_until_it_is_removed(encoder: Encoder) -> None:
    plain = encoder.encode(TEXTS)
    linear = projection(projected(encoder).model)
    assert linear is not None
    with torch.no_grad():
        expected = torch.nn.functional.normalize(linear(torch.from_numpy(plain))).numpy()
    np.testing.assert_allclose(encoder.encode(TEXTS), expected, atol=1e-5)
    remove_projection(encoder.model)
    np.testing.assert_array_equal(encoder.encode(TEXTS), plain)


def test_it_is_saved_beside_the_weights_and_read_with_them(encoder: Encoder, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    digest = save_encoder(projected(encoder), tmp_path / "tuned", max_tokens=50)
    again = load_encoder(config.EncoderSettings(model=str(tmp_path / "tuned"), precision="fp32", sha256=digest))
    np.testing.assert_array_equal(again.encode(TEXTS), encoder.encode(TEXTS))
    peer = SentenceTransformer(str(tmp_path / "tuned"), device="cpu", local_files_only=True)
    np.testing.assert_allclose(peer.encode(TEXTS, show_progress_bar=False), encoder.encode(TEXTS), atol=1e-5)


def test_the_digest_covers_it(encoder: Encoder, tmp_path: Path) -> None:
    digest = save_encoder(projected(encoder), tmp_path / "tuned")
    file = tmp_path / "tuned" / PROJECTION_FILE
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(EncoderError, match="altered"):
        load_encoder(config.EncoderSettings(model=str(tmp_path / "tuned"), sha256=digest))


@pytest.mark.parametrize("breakage", ["torn", "of another width", "something else"])
def test_one_that_cannot_be_used_is_refused(breakage: str, encoder: Encoder, tmp_path: Path) -> None:
    save_encoder(projected(encoder), tmp_path / "tuned")
    file = tmp_path / "tuned" / PROJECTION_FILE
    match breakage:
        case "torn":
            file.write_bytes(file.read_bytes()[:-8])
        case "of another width":
            save_file({"linear.weight": torch.eye(3), "linear.bias": torch.zeros(3)}, file)
        case _:
            save_file({"other": torch.zeros(3)}, file)
    with pytest.raises(EncoderError, match="cannot be loaded"):
        load_encoder(config.EncoderSettings(model=str(tmp_path / "tuned")))


@pytest.mark.parametrize("change", ["straight behind pooling", "not linear"])
def test_a_dense_layer_of_another_kind_is_refused(change: str, encoder: Encoder, tmp_path: Path) -> None:
    folder = tmp_path / "tuned"
    save_encoder(projected(encoder), folder)
    if change == "not linear":
        path = folder / "3_Dense" / "config.json"
        changed = json.loads(path.read_text()) | {"activation_function": "torch.nn.modules.activation.Tanh"}
    else:
        path = folder / "modules.json"
        changed = [module for module in json.loads(path.read_text()) if module["path"] != "2_Normalize"]
    path.write_text(json.dumps(changed))
    with pytest.raises(EncoderError, match="dense layer"):
        load_encoder(config.EncoderSettings(model=str(folder)))
