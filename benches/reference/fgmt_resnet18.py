"""FGMT on a ResNet-18 of CIFAR size (3x3 stem, 11 M parameters), 3 timesteps of 128 samples, by PyTorch
and scipy on two threads.

    python benches/reference/fgmt_resnet18.py [--write DIR]        # torch, torchvision, numpy, scipy

Random bases and random images: the time depends on shapes, and little on what the images show.
"""

import pathlib
import sys

import torch
import torch.nn as nn
import torchvision
from fgmt import Clock, fgmt, report, similarity

torch.set_num_threads(2)
torch.manual_seed(0)
STEPS, BATCH = 3, 128


def resnet18():
    model = torchvision.models.resnet18(num_classes=10)
    model.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    model.maxpool = nn.Identity()
    return model


def batch_norm(name):
    return [(f"{name}.weight", 0, 1), (f"{name}.bias", 0, 1)]


def groups():
    """One stream a stage (the residual ties its blocks), one group inside every block."""
    found = {"stream1": [("conv1.weight", 0, 1), *batch_norm("bn1")]}
    for stage in (1, 2, 3, 4):
        stream = found.setdefault(f"stream{stage}", [])
        for block in (0, 1):
            at = f"layer{stage}.{block}"
            before = found[f"stream{stage - 1}"] if stage > 1 and block == 0 else stream
            before.append((f"{at}.conv1.weight", 1, 1))
            inner = [(f"{at}.conv1.weight", 0, 1), *batch_norm(f"{at}.bn1"), (f"{at}.conv2.weight", 1, 1)]
            found[f"inner{stage}.{block}"] = inner
            stream += [(f"{at}.conv2.weight", 0, 1), *batch_norm(f"{at}.bn2")]
            if stage > 1 and block == 0:
                before.append((f"{at}.downsample.0.weight", 1, 1))
                stream += [(f"{at}.downsample.0.weight", 0, 1), *batch_norm(f"{at}.downsample.1")]
    found["stream4"].append(("fc.weight", 1, 1))
    return found


def parameters(model):
    return {name: p.detach().clone() for name, p in model.named_parameters()}


model = resnet18()
old = parameters(model)
new = parameters(resnet18())
tuned = {name: p + 0.01 * p.std().nan_to_num() * torch.randn_like(p) for name, p in old.items()}
batches = [(torch.randn(BATCH, 3, 32, 32), torch.randint(10, (BATCH,))) for _ in range(STEPS)]
clock = Clock()
_, sigma, pairs = fgmt(model, (old, tuned, new), groups(), batches, clock)
report("fgmt ResNet-18, 3 x 32 x 32, 3 x 128", clock)
if "--write" in sys.argv:
    folder = pathlib.Path(sys.argv[sys.argv.index("--write") + 1])
    for group in ("stream4", "inner4.1"):
        similarity(pairs, groups(), sigma, group).astype("<f4").tofile(folder / f"resnet18_{group}-512.f32")
