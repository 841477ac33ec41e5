"""The command: `python -m retune_client.graph`, or `examples/graph_of.py`."""

import argparse
import importlib
import importlib.util
import sys
from pathlib import Path

import torch

from . import Refused, check, save
from .tasks import OUTPUTS


def made_by(place):
    """What `file.py:function` or `package.module:function` returns."""
    module, _, function = place.rpartition(":")
    if not module.endswith(".py"):
        return getattr(importlib.import_module(module), function)()
    path = Path(module).resolve()
    sys.path.insert(0, str(path.parent))  # for what lies beside it
    spec = importlib.util.spec_from_file_location(path.stem, path)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return getattr(loaded, function)()


def main():
    parser = argparse.ArgumentParser(description="Writes the model folder of your own PyTorch model.")
    parser.add_argument("model", help="file.py:function or package.module:function that returns the model")
    parser.add_argument("folder")
    parser.add_argument("--shape", type=int, nargs="+", required=True, help="of one sample: F, or C H W, or S tokens")
    parser.add_argument("--tokens", type=int, metavar="VOCABULARY", help="the sample is token ids below this")
    parser.add_argument("--task", choices=OUTPUTS, help="what the output is; classes or the next token without it")
    parser.add_argument("--check", metavar="RETUNE", help="compare with this program on random data")
    arguments = parser.parse_args()
    if arguments.tokens:
        example = torch.randint(arguments.tokens, (8, *arguments.shape))
    else:
        example = torch.randn(2, *arguments.shape)
    model = made_by(arguments.model)

    try:
        document = save(model, example, arguments.folder, arguments.task)
    except Refused as reason:
        sys.exit(f"refused: {reason}")
    print(f"{arguments.folder}: {len(document['nodes'])} nodes")
    for name in document.get("left_out", []):
        print(f"left out, the output does not depend on it: {name}")
    if arguments.check:
        try:
            loss, accuracy = check(model, example, arguments.folder, arguments.check)
        except AssertionError as difference:
            sys.exit(str(difference))
        measure = "R²" if arguments.task == "regression" else "accuracy"
        print(f"loss {loss:.4f} and {measure} {accuracy:.4f}, by retune and by PyTorch")


if __name__ == "__main__":
    main()
