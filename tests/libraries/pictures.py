"""Image data and their files."""

from dataclasses import dataclass, field, replace

import torch
from safetensors.torch import save_file

ROWS = 8
# Of large images fewer, for time's sake.
ROWS_OF_LARGE, LARGE = 2, 100 * 100


@dataclass(frozen=True)
class Pictures:
    """`[N, C, H, W]` of numbers, or of bytes, which are read as value / 255."""

    pixels: torch.Tensor
    labels: torch.Tensor | None = field(default=None, compare=False)

    @property
    def columns(self):
        return {"pixel_values": self.pixels / 255 if self.pixels.dtype == torch.uint8 else self.pixels}

    def labelled(self, labels):
        return replace(self, labels=labels)

    def write(self, path):
        path = path.with_suffix(".safetensors")
        save_file({"inputs": self.pixels.contiguous(), "labels": self.labels}, path)
        return path


def rows(shape):
    return ROWS if shape[1] * shape[2] < LARGE else ROWS_OF_LARGE


def pictures(*shape, seed=1):
    return Pictures(torch.randn((rows(shape), *shape), generator=torch.Generator().manual_seed(seed)))


def bytes_of(*shape, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return Pictures(torch.randint(0, 256, (rows(shape), *shape), generator=generator, dtype=torch.uint8))
