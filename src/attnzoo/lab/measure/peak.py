"""The most arithmetic that a GPU's data sheet promises, to say how much of it a training step uses."""

from typing import Final

import torch

# 10^12 dense operations a second of the tensor cores: (bfloat16 and float16, float32 by TF32); by part of the name
_PEAKS: Final = {
    "H200": (989.4, 494.7),
    "H100 80GB HBM3": (989.4, 494.7),
    "H100 PCIe": (756.0, 378.0),
    "A100": (312.0, 156.0),
    "L40S": (362.05, 183.0),
    "L4": (121.0, 60.0),
    "A10": (125.0, 62.5),
    "RTX 4090": (165.2, 82.6),
}


def peak(device: str, dtype: torch.dtype | None) -> float | None:
    """Operations a second, an addition and a multiplication being two; None for a device that is not known.

    Args:
        device: its name, as `torch.cuda.get_device_name` gives it.
        dtype: of autocast; None is float32, for which the convolutions of a GPU use TF32 unless that is switched off.
    """
    words = device.replace("-", " ").split()
    for name, (half, single) in _PEAKS.items():
        if set(name.split()) <= set(words):
            return 1e12 * (single if dtype is None else half)
    return None
