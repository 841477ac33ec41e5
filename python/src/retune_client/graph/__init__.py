"""Writes the model folder that retune reads from your own PyTorch model: its graph and its tensors.

    document = graph_of(model, example)        # example: a batch of inputs; integers are token ids
    save(model, example, "my-model/")          # config.json and model.safetensors
    load(model, "results/…/")                  # a result's tensors, back into the model

The model is traced by torch.fx in evaluation mode, for one batch. Every operation is written as one of
docs/reference/graph-ops.md, and computed again by the words of the graph: where its shape or values differ from
the model's, nothing is written. What a graph cannot say is refused by name, with what to do.
"""

from .folder import check, graph_of, load, save
from .value import Refused

__all__ = ["Refused", "check", "graph_of", "load", "save"]
