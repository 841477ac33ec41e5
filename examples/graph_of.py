"""Writes the model folder that retune reads from your own PyTorch model: its graph and its tensors.

    python graph_of.py my_nets.py:make_net my-model/ --shape 3 32 32 [--check path/to/retune]
    python graph_of.py my_nets.py:make_net my-model/ --shape 128 --tokens 30522

This is `python -m retune_client.graph` of the package in `python/`, installed or beside this folder. Needs
PyTorch and safetensors.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

if find_spec("retune_client") is None:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python/src"))

from retune_client.graph import Refused, check, graph_of, load, save
from retune_client.graph.__main__ import main

__all__ = ["Refused", "check", "graph_of", "load", "save"]

if __name__ == "__main__":
    main()
