"""Client of the retune service.

    from retune_client import Client, show_progress

    transfer = Client().transfer(spec).wait(progress=show_progress)
    transfer.report()                     # a table in a notebook
    transfer.download("carried/")

`retune_client.recorder` records trajectories, `retune_client.graph` writes model folders from PyTorch models;
both need PyTorch. `retune_client.types` has the types of the HTTP API.
"""

from .client import Client
from .http import RetuneError
from .local import find_program, serve
from .progress import show_progress
from .report import Report
from .transfer import Transfer, TransferFailed

__all__ = ["Client", "Report", "RetuneError", "Transfer", "TransferFailed", "find_program", "serve", "show_progress"]
