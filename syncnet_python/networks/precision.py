"""Which arithmetic a network runs in."""

from typing import Literal

import torch

Precision = Literal["auto", "float32"]


def inference_dtype(device: torch.device, precision: Precision) -> torch.dtype:
    """bfloat16 where precision is "auto" and the processor multiplies it natively, else float32.

    Only convolutions gain from it; a processor that has to emulate bfloat16 is slower with it,
    and CUDA devices stay with float32, which they have to spare.
    """
    if precision == "auto" and device.type == "cpu":
        able = torch.cpu.get_capabilities()
        if able.get("avx512_bf16") or able.get("amx_bf16"):
            return torch.bfloat16
    return torch.float32
