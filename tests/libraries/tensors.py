"""Tensors of result folders against what the library makes of them."""

import json

import torch
import transformers
from safetensors.torch import load_file

# Of the numbers that a format holds, how far apart two may lie: the sum is rounded once.
ULPS = {torch.float64: 2**-52, torch.float32: 2**-23, torch.float16: 2**-10, torch.bfloat16: 2**-7}


def stored(folder):
    """A model's tensors, from one file or from shards."""
    index = folder / "model.safetensors.index.json"
    if not index.exists():
        return load_file(folder / "model.safetensors")
    shards = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    return {name: tensor for shard in shards for name, tensor in load_file(folder / shard).items()}


def loaded(folder):
    """A classifier's tensors as the library reads them, in the format of the file."""
    return transformers.AutoModelForSequenceClassification.from_pretrained(folder, dtype="auto").state_dict()


def difference(expected, found, roundings):
    """What differs, in words; `None` where nothing does."""
    for title, names in (("lacks", expected.keys() - found.keys()), ("also has", found.keys() - expected.keys())):
        if names:
            return f"{title} {', '.join(sorted(names)[:3])}"
    worst = max((excess(expected[name], found[name]), name) for name in expected)
    return None if worst[0] <= roundings else f"{worst[1]} is {worst[0]:.3g} roundings away"


def excess(expected, found):
    """The largest distance, in roundings of the format that the result has."""
    if expected.shape != found.shape:
        return float("inf")
    if not found.is_floating_point():
        return 0.0 if torch.equal(expected.to(found.dtype), found) else float("inf")
    if not found.numel():
        return 0.0
    # Small sums of large terms are rounded as the terms are.
    rounded = expected.to(found.dtype).double()
    unit = ULPS[found.dtype] * (rounded.abs() + 0.1 * rounded.abs().max()).clamp(min=1e-30)
    return ((rounded - found.double()).abs() / unit).max().item()


def carried(old, tuned, new):
    """`new + (tuned − old)` in f64, by tensor."""
    return {name: new[name].double() + (tuned[name].double() - old[name].double()) for name in new}
