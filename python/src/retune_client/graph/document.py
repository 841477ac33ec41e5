"""The `config.json` of the nodes that a reader has written."""

from .tasks import OUTPUTS
from .value import Refused

INPUT = "input"


def document_of(reader, output, task=None):
    """The document, with the nodes that the output needs and no others."""
    last = reader.operand(output, "the output")
    order = needed(reader, last)
    if order[-1:] != [last]:
        raise Refused("the output is the input itself.")
    if not reader.example.is_floating_point():
        kind = "tokens"
    else:
        kind = {2: "features", 4: "image"}.get(reader.example.ndim)
    if kind is None:
        raise Refused(f"a sample {list(reader.example.shape[1:])} is no [F], [C, H, W] or ids [S].")
    if task is None:
        task = "next_token" if kind == "tokens" and output.real.ndim == 3 else "classification"
    if task not in OUTPUTS:
        raise Refused(f"{task!r} is no task of a model that is traced. Name one of {', '.join(OUTPUTS)}.")
    axes, wanted = OUTPUTS[task]
    if output.real.ndim != axes or axes == 3 and kind != "tokens":
        raise Refused(f"the output is {list(output.real.shape)}, and the task {task}. Return {wanted}.")
    return {
        "model_type": "graph",
        "input": {"kind": kind, "shape": list(reader.example.shape[1:])},
        "task": task,
        "nodes": nodes_of(reader, order),
    }


def needed(reader, last):
    """Positions of the nodes that a node is computed from, itself the last of them."""
    found, todo = set(), [last]
    while todo:
        position = todo.pop()
        if position is not None and position not in found:
            found.add(position)
            todo += reader.inputs[position]
    return sorted(found)


def nodes_of(reader, order):
    ids, before, nodes = ids_of(reader, order), None, []
    for place, position in enumerate(order):
        node = dict(reader.nodes[position])
        if ids[position] != node.get("param", str(place)):
            node["id"] = ids[position]
        if reader.inputs[position] != [before]:
            node["inputs"] = [INPUT if origin is None else ids[origin] for origin in reader.inputs[position]]
        nodes.append(node)
        before = position
    return nodes


def ids_of(reader, order):
    """A node's id is its parameter, or its place where it has none; with the place where another has the same."""
    ids = {}
    for place, position in enumerate(order):
        name = reader.nodes[position].get("param", str(place))
        ids[position] = f"{name}:{place}" if name in (INPUT, *ids.values()) else name
    return ids
