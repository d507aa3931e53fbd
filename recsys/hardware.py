"""What this machine computes in, and how much memory that took."""

from __future__ import annotations

import resource
import sys
from contextlib import suppress
from pathlib import Path
from typing import Literal

import torch

Precision = Literal["auto", "fp32", "bf16"]


def compute_device() -> torch.device:
    """The GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def compute_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """bfloat16 where asked for, or where the processor or GPU multiplies it natively; else float32."""
    if precision == "auto":
        native = torch.cuda.is_bf16_supported(including_emulation=False) if device.type == "cuda" else _cpu_has_bf16()
        return torch.bfloat16 if native else torch.float32
    return torch.bfloat16 if precision == "bf16" else torch.float32


def peak_memory_mb() -> float:
    """Largest resident memory of this process so far, libraries and data included, in MiB.

    From /proc where there is one: `ru_maxrss` also remembers the process that started this one.
    """
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)


def forget_peak_memory() -> None:
    """From now on `peak_memory_mb` tells of what follows, where Linux lets a process ask for that."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def cpu_multiplies_int8() -> bool:
    """Whether the processor has instructions for sums of products of int8: AVX512-VNNI or AMX."""
    return not _cpu_flags().isdisjoint({"avx512_vnni", "amx_int8"})


def _cpu_has_bf16() -> bool:
    """AVX512-BF16 or AMX."""
    return not _cpu_flags().isdisjoint({"avx512_bf16", "amx_bf16"})


def _cpu_flags() -> set[str]:
    """What Linux lists; elsewhere nothing."""
    try:
        return set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    except OSError:
        return set()
