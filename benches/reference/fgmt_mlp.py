"""FGMT on a 784-4096-10 MLP, 10 timesteps of 128 samples, by PyTorch and scipy on two threads.

    python benches/reference/fgmt_mlp.py [--write DIR]        # torch, numpy, scipy

Random bases and a tuned model that a few steps of training make from the old one; MNIST-like random
images in ten classes (the time does not depend on what they show). `--write` leaves the last
similarity matrix as little-endian f32 for `cargo bench --bench assignment -- --matrix`.
"""

import pathlib
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
from fgmt import Clock, fgmt, report, similarity

torch.set_num_threads(2)
torch.manual_seed(0)
WIDTH, STEPS, BATCH = 4096, 10, 128
GROUPS = {"fc1": [("0.weight", 0, 1), ("0.bias", 0, 1), ("2.weight", 1, 1)]}
CLASSES = torch.rand(10, 784) * (torch.rand(10, 784) < 0.2)


def images(count):
    labels = torch.randint(10, (count,))
    return (CLASSES[labels] + 0.3 * torch.rand(count, 784)).clamp(0, 1), labels


def mlp():
    return nn.Sequential(nn.Linear(784, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 10))


def trained(model, steps, turn):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for _ in range(steps):
        inputs, labels = images(BATCH)
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), (labels + turn) % 10).backward()
        optimizer.step()
    return {name: p.detach().clone() for name, p in model.named_parameters()}


model = mlp()
old = trained(model, 30, 0)
tuned = trained(model, 30, 1)
new = trained(mlp(), 30, 0)
batches = [(inputs, (labels + 1) % 10) for inputs, labels in (images(BATCH) for _ in range(STEPS))]
clock = Clock()
_, sigma, pairs = fgmt(model, (old, tuned, new), GROUPS, batches, clock)
report("fgmt 784-4096-10, 10 x 128", clock)
if "--write" in sys.argv:
    folder = pathlib.Path(sys.argv[sys.argv.index("--write") + 1])
    similarity(pairs, GROUPS, sigma, "fc1").astype("<f4").tofile(folder / "mlp-4096.f32")
