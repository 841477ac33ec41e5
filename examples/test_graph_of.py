"""Graphs that graph_of.py writes give PyTorch's values in the program; what a graph cannot say is refused.

    python test_graph_of.py path/to/retune        # make test-python-torch
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import timm
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from graph_of import Refused, check, graph_of, load, save

PROGRAM = sys.argv[1]


class Residual(nn.Module):
    """Convolutions with batch norm, a shortcut with its own, and pools."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.a, self.norm_a = nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16)
        self.b, self.norm_b = nn.Conv2d(16, 16, 3, padding="same"), nn.BatchNorm2d(16)
        self.short = nn.Sequential(nn.Conv2d(8, 16, 1, stride=2), nn.BatchNorm2d(16))
        self.drop, self.head = nn.Dropout(0.5), nn.Linear(16, 5)

    def forward(self, x):
        x = self.pool(self.stem(x))
        y = F.relu(self.norm_a(self.a(x)))
        y = self.norm_b(self.b(y))
        y += self.short(x)
        y = F.adaptive_avg_pool2d(torch.relu(y), 1)
        return self.head(self.drop(torch.flatten(y, 1)))


class Depthwise(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 4, stride=2)
        self.depth = nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=8, bias=False)
        self.point, self.grouped = nn.Conv2d(8, 12, 1), nn.Conv2d(12, 12, 3, groups=3)
        self.norm, self.head = nn.BatchNorm2d(12, eps=1e-3), nn.Linear(12, 4)

    def forward(self, x, features=False):
        x = F.gelu(self.point(self.depth(self.stem(x))))
        x = F.avg_pool2d(self.norm(self.grouped(x)), 2, ceil_mode=True)
        return x if features else self.head(x.mean(dim=(2, 3)))


class Flat(nn.Module):
    """Pixels by channel, and a batch norm of features."""

    def __init__(self):
        super().__init__()
        self.conv, self.hidden = nn.Conv2d(1, 4, 3), nn.Linear(4 * 9, 10)
        self.norm, self.head = nn.BatchNorm1d(10), nn.Linear(10, 3)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv(x)), 2)
        x = x.view(x.size(0), -1)
        return self.head(torch.tanh(self.norm(self.hidden(x))))


class Encoder(nn.Module):
    """PyTorch's own encoder over token ids, with learned positions."""

    def __init__(self, norm_first, causal=False):
        super().__init__()
        self.words, self.places = nn.Embedding(50, 16), nn.Embedding(12, 16)
        layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=norm_first, norm_first=norm_first, activation="gelu")
        self.layers = nn.TransformerEncoder(layer, 2, nn.LayerNorm(16), enable_nested_tensor=False)
        self.head, self.batch_first, self.causal = nn.Linear(16, 6), norm_first, causal

    def forward(self, ids):
        x = self.words(ids) + self.places(torch.arange(ids.shape[1], device=ids.device))
        mask = nn.Transformer.generate_square_subsequent_mask(ids.shape[1]) if self.causal else None
        if self.batch_first:
            x = self.layers(x, mask=mask)
        else:
            x = self.layers(x.transpose(0, 1), mask=mask).transpose(0, 1)
        return self.head(x[:, -1] if self.causal else x.mean(1))


class Block(nn.Module):
    """An attention by the function, with fused or separate projections."""

    def __init__(self, heads, kv_heads=None, causal=False):
        super().__init__()
        self.heads, self.kv_heads, self.causal = heads, kv_heads or heads, causal
        self.before, self.after = nn.RMSNorm(16), nn.LayerNorm(16)
        if kv_heads:
            self.q, self.k, self.v = (nn.Linear(16, 16 // heads * count) for count in (heads, kv_heads, kv_heads))
        else:
            self.qkv = nn.Linear(16, 48)
        self.out = nn.Linear(16, 16)
        self.up, self.gate, self.down = nn.Linear(16, 24), nn.Linear(16, 24), nn.Linear(24, 16)

    def split(self, x):
        batch, length, _ = x.shape
        if hasattr(self, "qkv"):
            return self.qkv(x).reshape(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        parts = ((self.q, self.heads), (self.k, self.kv_heads), (self.v, self.kv_heads))
        return [layer(x).view(batch, length, heads, -1).transpose(1, 2) for layer, heads in parts]

    def forward(self, x):
        q, k, v = self.split(self.before(x))
        grouped = self.kv_heads != self.heads
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal, enable_gqa=grouped)
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        y = self.after(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


class Vision(nn.Module):
    """Patches, a class token, bare positions."""

    def __init__(self):
        super().__init__()
        self.patches, self.token = nn.Conv2d(3, 16, 4, stride=4), nn.Parameter(torch.randn(1, 1, 16))
        self.positions = nn.Parameter(torch.randn(1, 10, 16))
        self.blocks, self.norm, self.head = nn.ModuleList([Block(4), Block(2)]), nn.LayerNorm(16), nn.Linear(16, 5)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], dim=1) + self.positions
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])


class Language(nn.Module):
    """A decoder whose output matrix is its embedding."""

    def __init__(self):
        super().__init__()
        self.words, self.positions = nn.Embedding(40, 16), nn.Embedding(20, 16)
        self.blocks = nn.Sequential(Block(4, 2, causal=True), Block(4, causal=True))
        self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, 40, bias=False)
        self.head.weight = self.words.weight

    def forward(self, ids):
        places = torch.arange(2, ids.size(1) + 2).unsqueeze(0)
        return self.head(self.norm(self.blocks(self.words(ids) + self.positions(places))))


class Squeezed(nn.Module):
    """Squeeze and excitation, hard activations, and what is joined."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, stride=2), nn.GroupNorm(2, 8)
        self.reduce, self.expand, self.gate = nn.Conv2d(8, 4, 1), nn.Conv2d(4, 8, 1), nn.Hardsigmoid()
        self.other, self.head = nn.Conv2d(8, 6, 3, padding=1), nn.Linear(14, 5)
        self.capped = nn.ReLU6()

    def forward(self, x):
        x = F.hardswish(self.norm(self.stem(x)))
        x = x * self.gate(self.expand(self.capped(self.reduce(x.mean((2, 3), keepdim=True)))))
        x = torch.cat([x, torch.sigmoid(self.other(x)) * 3.0], dim=1)
        return 5.0 * torch.tanh(self.head(x.mean((2, 3))) / 5.0)


class Factor(nn.Module):
    """One factor for each channel, whatever its parameter is called."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.randn(8))


class Pixels(nn.Module):
    """ConvNeXt's way: layers over the channels of pixels, which stand last for a while."""

    def __init__(self):
        super().__init__()
        self.stem, self.depth = nn.Conv2d(3, 8, 2, stride=2), nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.norm, self.up, self.down = nn.LayerNorm(8), nn.Linear(8, 16), nn.Linear(16, 8)
        self.factor, self.last, self.head = Factor(), nn.LayerNorm(8), nn.Linear(8, 3)

    def forward(self, x):
        x = self.stem(x)
        y = self.norm(self.depth(x).permute(0, 2, 3, 1))
        y = (self.down(F.gelu(self.up(y))) * self.factor.scale).permute(0, 3, 1, 2)
        x = x + y * self.factor.scale.reshape(1, -1, 1, 1)
        return self.head(self.last(x.flatten(2).transpose(1, 2)).mean(1))


class Gated(nn.Module):
    """Gate and value of each token are two parts of one layer; a class for every token."""

    def __init__(self, outputs):
        super().__init__()
        self.words, self.both, self.head = nn.Embedding(40, 16), nn.Linear(16, 24), nn.Linear(12, outputs)

    def forward(self, ids):
        gate, value = self.both(self.words(ids)).chunk(2, dim=-1)
        return self.head(F.silu(gate) * value)


def mlp():
    first = [nn.Linear(8, 16), nn.ReLU(), nn.Dropout()]
    return nn.Sequential(*first, nn.Linear(16, 16), nn.GELU("tanh"), nn.Linear(16, 3))


IDS, IMAGES = torch.randint(40, (8, 9)), torch.randn(2, 3, 12, 12)
NETS = {
    "mlp": (mlp, torch.randn(2, 8)),
    "residual": (Residual, torch.randn(2, 3, 16, 16)),
    "depthwise": (Depthwise, torch.randn(2, 3, 20, 24)),
    "flat": (Flat, torch.randn(2, 1, 8, 8)),
    "encoder, norm first": (lambda: Encoder(norm_first=True), IDS),
    "encoder, norm last, batch second": (lambda: Encoder(norm_first=False), IDS),
    "causal encoder": (lambda: Encoder(norm_first=True, causal=True), IDS),
    "vision transformer": (Vision, IMAGES),
    "language model": (Language, IDS),
    "squeezed": (Squeezed, IMAGES),
    "pixels": (Pixels, IMAGES),
}
# What else a model may be for than classes.
TASKS = {
    "regression": (mlp, torch.randn(2, 8)),
    "multi_label_classification": (mlp, torch.randn(2, 8)),
    "token_classification": (lambda: Gated(3), IDS),
    "masked_token": (lambda: Gated(40), IDS),
    "question_answering": (lambda: Gated(2), IDS),
}
# One of each kind of timm's that torch.fx can trace.
TIMM = (
    "resnet18", "seresnet18", "resnext26ts", "regnety_002", "convnext_atto", "convnextv2_atto", "densenet121",
    "efficientnet_b0", "tf_efficientnet_b0", "mobilenetv2_050", "mobilenetv3_small_050", "tf_mobilenetv3_small_100",
    "ghostnet_050", "lcnet_035", "mnasnet_small", "repvgg_a0", "inception_v3", "dla34", "resnetv2_50",
    "mobilenetv4_conv_small", "ese_vovnet19b_dw", "vit_tiny_patch16_224",
)  # fmt: skip


def alive(net, example, seed):
    """A net with statistics and norms of its own, so that none of them is neutral."""
    torch.manual_seed(seed)
    model = net()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter += 0.3 * torch.randn_like(parameter)
        for _ in range(3):
            model.train()(example + torch.randn_like(example) if example.is_floating_point() else example)
    return model.eval()


def of_tasks(folder):
    for task, (net, example) in TASKS.items():
        model = alive(net, example, 0)
        save(model, example, folder / task, task)
        loss, measure = check(model, example, folder / task, PROGRAM)
        print(f"{task}: loss {loss:.4f}, measure {measure:.4f} by both")


def of_timm(folder):
    for name in TIMM:
        example = torch.randn(2, 3, *[224 if name.startswith("vit") else 96] * 2)
        model = alive(lambda: timm.create_model(name, num_classes=5), example, 0)
        document = save(model, example, folder / name)
        loss, accuracy = check(model, example, folder / name, PROGRAM, samples=8)
        print(f"{name}: {len(document['nodes'])} nodes, loss {loss:.4f}, accuracy {accuracy:.4f} by both")


def judged(folder):
    for name, (net, example) in NETS.items():
        model = alive(net, example, 0)
        place = folder / name.replace(" ", "-").replace(",", "")
        document = save(model, example, place)
        loss, accuracy = check(model, example, place, PROGRAM)
        other = alive(net, example, 1)
        assert not load(other, place) or name == "language model"
        with torch.no_grad():
            assert torch.equal(other(example), model(example)), f"{name} is not loaded as it was saved"
        print(f"{name}: {len(document['nodes'])} nodes, loss {loss:.4f}, accuracy {accuracy:.4f} by both")


class Of(nn.Module):
    """A net of one function, with a layer or parameter for it to use."""

    def __init__(self, function, **parts):
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return self.function(self, x)


def linear(wide=8):
    return nn.Linear(wide, wide)


TOKENS, FEATURES = torch.randn(2, 4, 8), torch.randn(2, 8)
MASK, BIAS = torch.tensor([[False] * 3 + [True]] * 2), torch.ones(4, 4)
REFUSED = {
    "a number is added": (Of(lambda net, x: net.a(x) + 1, a=linear()), FEATURES),
    "divided by another": (Of(lambda net, x: net.a(x) / net.a(x), a=linear()), FEATURES),
    "cut off at -1": (Of(lambda net, x: F.hardtanh(net.a(x)), a=linear()), FEATURES),
    "LSTM": (Of(lambda net, x: net.a(x)[0][:, -1], a=nn.LSTM(8, 8, batch_first=True)), TOKENS),
    "softmax": (Of(lambda net, x: torch.softmax(net.a(x), -1), a=linear()), FEATURES),
    "cannot trace": (Of(lambda net, x: net.a(x) if x.sum() > 0 else x, a=linear()), FEATURES),
    "joins channels": (Of(lambda net, x: torch.cat([net.a(x), x], 1).mean(1), a=linear()), TOKENS),
    "A factor per channel": (Of(lambda net, x: (x * net.a).mean(1), a=nn.Parameter(torch.ones(4, 8))), TOKENS),
    "no field in the graph": (nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect")), IMAGES),
    "a rearrangement": (Of(lambda net, x: net.a(x.transpose(1, 2).flatten(1)), a=linear(3 * 144)), IMAGES),
    "one vector of logits": (nn.Sequential(nn.Conv2d(3, 4, 3)), IMAGES),
    "[F], [C, H, W] or ids": (Of(lambda net, x: net.a(x).mean(1), a=linear()), TOKENS),
    "the logits alone": (Of(lambda net, x: (net.a(x), x), a=linear()), FEATURES),
    "key_padding_mask": (Of(lambda net, x: net.a(x, x, x, MASK)[0].mean(1), a=nn.MultiheadAttention(8, 2)), TOKENS),
    "weighs positions": (Of(lambda net, x: F.scaled_dot_product_attention(x, x, x, BIAS).mean(1)), TOKENS),
    "than the future": (Of(lambda net, x: F.scaled_dot_product_attention(x, x, x, BIAS > 0).mean(1)), TOKENS),
    "at a: ": (Of(lambda net, x: net.a(x), a=nn.PReLU()), FEATURES),
}


def refused():
    for reason, (model, example) in REFUSED.items():
        try:
            document = graph_of(model, example)
        except Refused as fault:
            assert reason in str(fault), f"{reason!r} is not in: {fault}"
        else:
            raise AssertionError(f"{reason}: taken as {json.dumps(document)}")
    print(f"{len(REFUSED)} nets are refused by name")


def transferred(folder):
    """The whole way: two nets of one's own, a transfer, and the result back in PyTorch."""
    inputs = torch.randn(200, 3, 16, 16)
    example = inputs[:2]
    models = {name: alive(Residual, example, seed) for name, seed in (("old", 0), ("tuned", 0), ("new", 5))}
    with torch.no_grad():
        for parameter in models["tuned"].parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    for name, model in models.items():
        save(model, example, folder / name)
    labels = models["tuned"](inputs).argmax(-1)
    save_file({"inputs": inputs, "labels": labels}, folder / "data.safetensors")
    spec = {
        "source": {"base": str(folder / "old"), "trajectory": str(folder / "tuned")},
        "target": {"base": str(folder / "new")},
        "data": {"train": str(folder / "data.safetensors")},
        "methods": ["weight_matching"],
        "output": str(folder / "out"),
    }
    (folder / "spec.json").write_text(json.dumps(spec))
    subprocess.run([PROGRAM, "transfer", str(folder / "spec.json")], check=True)
    [result] = (folder / "out").iterdir()
    model = Residual()
    assert not load(model, result)
    check(model, example, result, PROGRAM)
    print("a transfer's result is loaded into the model that it came from")


with tempfile.TemporaryDirectory() as name:
    judged(Path(name))
    of_tasks(Path(name))
    of_timm(Path(name))
    refused()
    transferred(Path(name))
