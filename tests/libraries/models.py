"""Small random models, made and saved by the libraries themselves, and read back in f64."""

import json
import shutil

import torch
from safetensors.torch import save_file

DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
# Stands for a key that is taken out of config.json.
ABSENT = object()


def away_from_defaults(model, seed, noise=0.7):
    """Every parameter as after training: no bias 0, no norm 1, no head near 0."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(noise * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def save(model, folder, dtype="f32", shards=False, edit=None):
    """Saves as a user would, in this format; then changes keys of config.json."""
    size = "12KB" if shards else "50GB"
    model.to(DTYPES[dtype]).save_pretrained(folder, max_shard_size=size)
    change_config(folder, edit or {})
    return folder


def change_config(folder, edit, name="config.json"):
    """Changes keys; `a.b` is the key b within a."""
    path = folder / name
    config = json.loads(path.read_text())
    for key, value in edit.items():
        *outer, inner = key.split(".")
        place = config
        for part in outer:
            place = place[part]
        if value is ABSENT:
            place.pop(inner, None)
        else:
            place[inner] = value
    path.write_text(json.dumps(config, indent=2))


def neighbours(state, seed, noise):
    """The same tensors with noise: a tuning, or another base."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: (tensor.double() + noise * torch.randn(tensor.shape, generator=generator)).to(tensor.dtype)
        if tensor.is_floating_point()
        else tensor
        for name, tensor in state.items()
    }


def copy_with(folder, target, state):
    """A copy of a model's folder that holds these tensors in one file."""
    target.mkdir()
    for name in ("config.json", "generation_config.json"):
        if (folder / name).exists():
            shutil.copy(folder / name, target / name)
    save_file(
        {name: tensor.contiguous() for name, tensor in state.items()},
        target / "model.safetensors",
        metadata={"format": "pt"},
    )
    return target
