"""Tuning modes: train all weights of an encoder, low-rank updates, or bottleneck adapters."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import torch
from peft import AdaLoraConfig, LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn

from features.encoder.adapters import bottlenecks, insert_bottlenecks, transformer_layers
from features.encoder.encoder import Encoder, load_encoder
from features.encoder.projection import ATTRIBUTE as PROJECTION
from recsys import config
from recsys.errors import TrainingError

Mode = Literal["full", "lora", "adalora", "adapter"]

LEARNING_RATES: Final[dict[Mode, float]] = {"full": 5e-5, "lora": 5e-4, "adalora": 1e-3, "adapter": 5e-4}
"""Default peak learning rate of each mode, used if the settings do not set one; few weights need larger steps."""

SPARE_RANK: Final = 1.5
"""AdaLoRA starts with this many times its final rank, as in its paper's experiments."""

ORTHOGONALITY: Final = 0.1
"""Weight of AdaLoRA's regulariser, one of the values of its paper."""

_ADAPTER: Final = "default"
"""peft's name for its only set of low-rank updates."""


@dataclass(frozen=True)
class Parameters:
    """Number of trained weights of a model, and of all of them."""

    trainable: int
    total: int


@dataclass(frozen=True)
class Tuning:
    """An encoder's model while it is tuned; `model` is the encoder's model, changed in place.

    The training loop adds `penalty` to the loss, and calls `after_step` after the optimizer's step and before gradients
    are cleared. `state` is what a resumed run needs in addition to the weights.
    """

    model: nn.Module
    mode: Mode
    peft: PeftModel | None

    def parameters(self) -> Parameters:
        """Numbers of weights while tuning; the total includes low-rank updates."""
        weights = list(self.model.parameters())
        return Parameters(sum(w.numel() for w in weights if w.requires_grad), sum(w.numel() for w in weights))

    def after_step(self, step: int) -> None:
        """step: 0-based. AdaLoRA reallocates rank between matrices (Zhang et al. 2023, algorithm 1)."""
        if self.mode == "adalora":
            self._adalora.update_and_allocate(step)

    def penalty(self) -> Tensor | float:
        """AdaLoRA's || P'P - I || + || QQ' - I ||, mean over its matrices (equation 4); 0 in every other mode.

        peft adds it only to models that return a loss, which encoders do not.
        """
        if self.mode != "adalora":
            return 0.0
        norms = []
        for name, weight in self.model.named_parameters():
            if f"lora_A.{_ADAPTER}" in name or f"lora_B.{_ADAPTER}" in name:
                gram = weight @ weight.T if "lora_A" in name else weight.T @ weight  # (rank, rank)
                norms.append(torch.linalg.matrix_norm(gram - torch.eye(len(gram), device=gram.device)))
        return ORTHOGONALITY * torch.stack(norms).mean()

    def state(self) -> dict[str, Tensor]:
        """AdaLoRA's statistics on the importance of its weights; empty in every other mode."""
        if self.mode != "adalora":
            return {}
        allocator = self._adalora.rankallocator
        state = {
            f"{kind}/{name}": value
            for kind in ("ipt", "exp_avg_ipt", "exp_avg_unc")
            for name, value in getattr(allocator, kind).items()
        }
        pattern = self._adalora.peft_config[_ADAPTER].rank_pattern or {}
        return state | {f"rank_pattern/{name}": torch.tensor(mask) for name, mask in pattern.items()}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Restore what `state` returned."""
        if self.mode != "adalora":
            return
        self._adalora.rankallocator.reset_ipt()
        pattern: dict[str, list[bool]] = {}
        for key, value in state.items():
            kind, _, name = key.partition("/")
            if kind == "rank_pattern":
                pattern[name] = value.tolist()
            else:
                getattr(self._adalora.rankallocator, kind)[name] = value
        self._adalora.peft_config[_ADAPTER].rank_pattern = pattern or None

    def merge(self) -> None:
        """End tuning: merge low-rank updates into the weights, and make all weights trainable again.

        Bottleneck adapters stay (`features/encoder/adapters.py`); all other modes leave a plain model.
        """
        if self.peft is not None:
            self.peft.merge_and_unload()
            # transformers would treat a model with this attribute as one of peft's when saving it.
            if hasattr(self.model, "peft_config"):
                del self.model.peft_config
        self.model.requires_grad_(True)

    @property
    def _adalora(self) -> Any:
        assert self.peft is not None
        return self.peft.base_model


def load_trainable(settings: config.EncoderSettings, finetune: config.FinetuneSettings) -> Encoder:
    """The encoder in float32 for training, with texts cut at `finetune.max_tokens`."""
    encoder = load_encoder(settings.model_copy(update={"precision": "fp32"}))
    return replace(encoder, max_tokens=min(encoder.max_tokens, finetune.max_tokens))


def tune(model: nn.Module, settings: config.FinetuneSettings, n_steps: int, seed: int) -> Tuning:
    """Make the weights of `settings.mode` trainable and freeze all others, in place.

    n_steps: number of optimizer steps, which AdaLoRA's schedule needs: a tenth of them at full rank, the last fifth at
    the final rank. New weights depend only on the seed. Raises TrainingError if the mode does not fit the model.
    """
    model.requires_grad_(False)
    peft: PeftModel | None = None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        match settings.mode:
            case "full":
                model.requires_grad_(True)
            case "adapter":
                with _named("adapter"):
                    adapters = bottlenecks(model) or insert_bottlenecks(model, settings.bottleneck)
                adapters.requires_grad_(True)
            case "lora":
                peft = _wrap(model, _lora(model, settings.rank))
            case "adalora":
                peft = _wrap(model, _adalora(model, settings.rank, n_steps))
    _freeze_outside(model)
    return Tuning(model, settings.mode, peft)


def copied_weights(model: nn.Module) -> dict[str, Tensor]:
    """A copy of the model's weights by name, on its device."""
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


def average_weights(model: nn.Module, start: dict[str, Tensor], start_share: float) -> None:
    """Set each weight in `start` to start_share * its start value + (1 - start_share) * its current value, in place.

    Weights that are not in `start`, such as new bottleneck adapters, are unchanged.
    """
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name in start:
                weight.lerp_(start[name], start_share)


@contextmanager
def gradient_checkpointing(model: nn.Module, enabled: bool) -> Iterator[None]:
    """If enabled, layers store only their inputs, and recompute activations in the backward pass."""
    if not enabled:
        yield
        return
    model.activation_checkpointing_enable()  # type: ignore[operator]
    try:
        yield
    finally:
        model.activation_checkpointing_disable()  # type: ignore[operator]


def learning_rate(configured: float, mode: Mode) -> float:
    """The configured learning rate, or the mode's default if it is 0."""
    return configured or LEARNING_RATES[mode]


def _freeze_outside(model: nn.Module) -> None:
    """Freeze BERT's pooler, which our vectors do not use, and the projection, which is fitted separately.

    AdaLoRA would fail on weights without gradients, and counting them as trained would be wrong.
    """
    for name, weight in model.named_parameters():
        if "pooler." in name or name.startswith(f"{PROJECTION}."):
            weight.requires_grad_(False)


def _lora(model: nn.Module, rank: int) -> LoraConfig:
    """Hu et al. 2022, on every linear map of the layers; alpha = 2 r, so that the step size is the same for any
    rank."""
    return LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=_linear_names(model, "lora"))


def _adalora(model: nn.Module, rank: int, n_steps: int) -> AdaLoraConfig:
    spare = max(round(SPARE_RANK * rank), rank + 1)
    return AdaLoraConfig(
        init_r=spare,
        target_r=rank,
        lora_alpha=2 * spare,
        target_modules=_linear_names(model, "adalora"),
        total_step=n_steps,
        tinit=n_steps // 10,
        tfinal=max(1, n_steps // 5) if n_steps > 1 else 0,
    )


def _wrap(model: nn.Module, settings: LoraConfig) -> PeftModel:
    with warnings.catch_warnings():
        # peft 0.21 uses an attribute that transformers 5.23 has renamed.
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        # Not `add_adapter`, with which AdaLoRA lacks `update_and_allocate` (peft#3373).
        return get_peft_model(model, settings)


def _linear_names(model: nn.Module, mode: str) -> list[str]:
    with _named(mode):
        layers = transformer_layers(model)
    inside = {id(module) for module in layers.modules()}
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Linear) and id(module) in inside]
    if not names:
        raise TrainingError(
            f"setting finetune.mode = '{mode}': the layers of {type(model).__name__} contain no linear maps; "
            "set it to full or adapter"
        )
    return names


@contextmanager
def _named(mode: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise TrainingError(f"setting finetune.mode = '{mode}': {error}; set it to full") from None
