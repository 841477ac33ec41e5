"""The same gradients by PyTorch: python gradient.py [mlp|resnet18] [threads]"""
import resource
import sys
import time

import timm
import torch
from torch import nn
from torch.nn import functional as F

name = sys.argv[1] if len(sys.argv) > 1 else "resnet18"
torch.set_num_threads(int(sys.argv[2]) if len(sys.argv) > 2 else 2)
torch.manual_seed(0)
if name == "mlp":
    model, x = nn.Sequential(nn.Linear(784, 4096), nn.ReLU(), nn.Linear(4096, 10)), torch.rand(128, 784)
else:
    model, x = timm.create_model("resnet18", num_classes=10), torch.rand(128, 3, 32, 32)
    model.conv1, model.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
y = torch.randint(10, (128,))


def forward():
    with torch.no_grad():
        model(x)


def gradient():
    model.zero_grad()
    F.cross_entropy(model(x), y).backward()


for what, run in [("forward", forward), ("gradient", gradient)]:
    model.train(what == "gradient")
    run()
    start, cpu = time.perf_counter(), time.process_time()
    for _ in range(5):
        run()
    wall, cpu = (time.perf_counter() - start) / 5, (time.process_time() - cpu) / 5
    print(f"{name}: {what} {wall:.3f} s, {cpu:.3f} CPU s (mean of 5)")
print(f"{name}: peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB")
