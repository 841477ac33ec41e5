"""A model's folder: written from a model, read back into one, and judged by both."""

import inspect
import json
import subprocess
import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import fx

from .document import document_of
from .layers import LEAVES
from .reader import Reader
from .tasks import judged
from .value import Refused, Value

PARTS = ("weight", "bias", "gamma", "running_mean", "running_var", "num_batches_tracked")


def graph_of(model, example, task=None):
    """The `config.json` of a model, traced in evaluation mode for a batch like `example`: f32 `[B, F]` or
    `[B, C, H, W]`, or ids `[B, S]`. `task` is one of docs/reference/graph-ops.md; without it the model tells classes,
    or of ids to `[B, S, V]` the next token. Raises `Refused` for what a graph cannot say."""
    return traced(model, example, task)[1]


def save(model, example, folder, task=None):
    """Writes a model's `config.json` and `model.safetensors`, and returns the former."""
    reader, document = traced(model, example, task)
    read = {name for node in document["nodes"] for name in names_of(node)}
    tensors = {name: tensor.cpu().contiguous().clone() for name, tensor in reader.tensors.items() if name in read}
    # Fields of our own, which the reader of graphs leaves alone.
    if reader.renamed:
        document["renamed"] = reader.renamed
    if left_out := sorted(reader.tensors.keys() - tensors.keys()):
        document["left_out"] = left_out

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(document, indent=1) + "\n")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return document


def load(model, folder):
    """Puts the tensors of a folder that `save` or a transfer has written into the model, under its own names.
    Returns the model's names that the folder has no tensor for: those of tensors that go by another name too, and
    those that the graph has left out."""
    folder = Path(folder)
    renamed = json.loads((folder / "config.json").read_text()).get("renamed", {})
    own = {new: old for old, new in renamed.items()}
    tensors = {}
    for file in sorted(folder.glob("model*.safetensors")):  # a large result has several
        tensors |= {own.get(name, name): tensor for name, tensor in load_file(file).items()}
    missing, unknown = model.load_state_dict(tensors, strict=False)
    if unknown:
        raise ValueError(f"the model has no {', '.join(unknown)}")
    return missing


def check(model, example, folder, program, samples=64):
    """Loss and accuracy, of a regression R², on random data, by PyTorch and by `retune evaluate`, which is `program`.
    Raises `AssertionError` where they differ; ids are drawn from the example's."""
    generator = torch.Generator().manual_seed(0)
    if example.is_floating_point():
        inputs = torch.randn(samples, *example.shape[1:], generator=generator)
        data = {"inputs": inputs}
    else:
        drawn = torch.randint(example.numel(), (samples, *example.shape[1:]), generator=generator)
        inputs = example.flatten()[drawn]
        data = {"input_ids": inputs}
    with torch.no_grad():
        logits = model.eval()(inputs)
    task = json.loads((Path(folder) / "config.json").read_text())["task"]
    labels, loss, measure, samples = judged(task, logits, generator)

    with tempfile.TemporaryDirectory() as name:
        save_file(data | {"labels": labels}, f"{name}/data.safetensors")
        command = [program, "evaluate", str(folder), "--data", f"{name}/data.safetensors", "--json"]
        found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)

    # One prediction may tip where two logits are equal to rounding.
    close = abs(found["loss"] - loss) <= 1e-4 * max(1, loss)
    own = found.get("accuracy", found.get("r2"))
    if not close or abs(own - measure) > 1.5 / samples:
        raise AssertionError(f"retune evaluates {found}, PyTorch the loss {loss} and the measure {measure}")
    return loss, measure


def traced(model, example, task):
    """The reader of a model, and its document."""
    training = model.training
    try:
        with torch.no_grad():
            return read(model.eval(), example, task)
    finally:
        model.train(training)


class Tracer(fx.Tracer):
    """Some of timm's modules are operations of a graph as they are."""

    def is_leaf_module(self, module, name):
        return type(module).__name__ in LEAVES or super().is_leaf_module(module, name)


def read(model, example, task):
    sample, *others = inspect.signature(model.forward).parameters.values()
    defaults = {one.name: one.default for one in others if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)}
    if wanted := [name for name, default in defaults.items() if default is inspect.Parameter.empty]:
        raise Refused(f"forward reads {', '.join(wanted)} beside {sample.name}. A graph has one input.")
    try:
        graph = Tracer().trace(model, concrete_args=defaults)
        symbolic = fx.GraphModule(model, graph)
    except Exception as fault:  # Whatever the model's own code raises for a stand-in of its input.
        reason = f"torch.fx cannot trace the model ({fault}). Its forward must not branch on values of tensors."
        raise Refused(reason) from fault

    reader = Reader(symbolic, model, example)
    output = reader.run(example)
    if not isinstance(output, Value):
        raise Refused("forward returns several things. Return the logits alone.")
    document = document_of(reader, output, task)
    if not torch.allclose(output.real, model(example), rtol=1e-4, atol=1e-5):
        raise Refused("the traced model gives other values than the model: its forward depends on more than its input.")
    return reader, document


def names_of(node):
    """Names that a node's tensors may have."""
    prefix = node.get("param")
    parts = (*PARTS, node.get("tensor", "gamma"))
    return [] if prefix is None else [prefix, *(f"{prefix}.{part}" for part in parts)]
