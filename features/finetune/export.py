"""Save a tuned encoder for `load_encoder`; without bottleneck adapters sentence-transformers can read it, too."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any, Final

from safetensors.torch import save_file

from features.encoder import adapters, projection
from features.encoder.adapters import BOTTLENECKS_FILE, bottleneck_weights, hidden_size
from features.encoder.encoder import Encoder, no_progress_bars
from features.encoder.model_files import Pooling, weights_digest
from features.encoder.projection import PROJECTION_FOLDER, save_projection
from features.workspace.atomic_files import sync_tree
from recsys.errors import EncoderError

_POOLING_KEYS: Final[dict[Pooling, str]] = {
    "mean": "pooling_mode_mean_tokens",
    "cls": "pooling_mode_cls_token",
    "last": "pooling_mode_lasttoken",
}
_MODULES: Final = (("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize"))
_PROJECTED: Final = (("Dense", PROJECTION_FOLDER), ("Normalize", "4_Normalize"))

_BESIDE: Final = (f"{adapters.ATTRIBUTE}.", f"{projection.ATTRIBUTE}.")
"""Prefixes of the weights that are stored in separate files."""


def save_encoder(encoder: Encoder, folder: Path, max_tokens: int | None = None) -> str:
    """Write config, tokenizer, weights and pooling to `folder`, and return the weights' SHA-256.

    The folder appears complete or not at all; an existing folder is replaced. max_tokens: the length limit stored in
    the folder, by default that of the encoder. Equal weights give equal files. Raises EncoderError if low-rank updates
    have not been merged (`Tuning.merge`).
    """
    unmerged = [name for name in encoder.model.state_dict() if "lora_" in name]
    if unmerged:
        raise EncoderError(f"{encoder.id}: {len(unmerged)} low-rank updates are not merged (for example {unmerged[0]})")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as drafts:
        draft = Path(drafts) / folder.name
        draft.mkdir()
        _write(encoder, draft, max_tokens or encoder.max_tokens)
        sync_tree(draft)
        if folder.exists():
            shutil.rmtree(folder)
        draft.rename(folder)
    return weights_digest(str(folder), folder)


def _write(encoder: Encoder, folder: Path, max_tokens: int) -> None:
    model: Any = encoder.model
    plain = {name: value for name, value in model.state_dict().items() if not name.startswith(_BESIDE)}
    with no_progress_bars():
        model.save_pretrained(folder, state_dict=plain)
    encoder.tokenizer.save_pretrained(folder)
    adapters = bottleneck_weights(model)
    if adapters:
        save_file(adapters, folder / BOTTLENECKS_FILE)
    save_projection(model, folder)
    hidden = hidden_size(model)
    projected = projection.projection(model) is not None
    kinds = _MODULES + _PROJECTED if projected else _MODULES
    for _, path in kinds:
        (folder / path).mkdir(exist_ok=True)
    modules = [
        {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for number, (kind, path) in enumerate(kinds)
    ]
    _write_json(folder / "modules.json", modules)
    _write_json(folder / "sentence_bert_config.json", {"max_seq_length": max_tokens, "do_lower_case": False})
    if projected:
        linear = {"in_features": hidden, "out_features": hidden, "bias": True}
        identity = "torch.nn.modules.linear.Identity"
        _write_json(folder / PROJECTION_FOLDER / "config.json", {**linear, "activation_function": identity})
    modes = {key: pooling == encoder.pooling for pooling, key in _POOLING_KEYS.items()}
    _write_json(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": hidden, **modes})


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
