"""What the recorder writes, from a plain loop and from Trainer, is a trajectory that retune transfers.

    python test_recorder.py path/to/retune        # make test-python-torch
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file, save_model
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from retune_client.recorder import Recorder, TrajectoryCallback

GRAPH = {
    "model_type": "graph",
    "input": {"kind": "features", "shape": [8]},
    "nodes": [{"op": "linear", "param": "0"}, {"op": "relu"}, {"op": "linear", "param": "2"}],
}


def mlp(seed):
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))


def plain(folder):
    inputs, labels = torch.randn(60, 8), torch.arange(60) % 3
    inputs[torch.arange(60), labels] += 2
    model, recorder = mlp(0), Recorder(folder / "trajectory", GRAPH, every=10)
    wrapped = torch.nn.DataParallel(torch.compile(model))  # written under the names that it has inside
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(30):
        recorder.record(wrapped, step)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
    recorder.record(wrapped, 30, last=True)
    (folder / "new").mkdir()
    (folder / "new/config.json").write_text(json.dumps(GRAPH))
    save_model(mlp(1), str(folder / "new/model.safetensors"))
    save_file({"inputs": inputs, "labels": labels}, folder / "data.safetensors")
    return [0, 10, 20, 30]


def trainer(folder):
    config = BertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=16, num_labels=3,
    )
    ids, labels = torch.randint(5, 50, (48, 8)), torch.arange(48) % 3
    ids[:, 1] = 10 + labels
    rows = [{"input_ids": i, "labels": label} for i, label in zip(ids, labels, strict=True)]
    callback = TrajectoryCallback(folder / "trajectory", every=5)
    arguments = TrainingArguments(
        output_dir=str(folder / "trainer"), max_steps=12, per_device_train_batch_size=16,
        save_strategy="no", report_to=[], use_cpu=True,
    )
    torch.manual_seed(0)
    Trainer(BertForSequenceClassification(config), arguments, train_dataset=rows, callbacks=[callback]).train()
    torch.manual_seed(1)
    BertForSequenceClassification(config).save_pretrained(folder / "new")
    save_file({"input_ids": ids, "labels": labels}, folder / "data.safetensors")
    return [0, 5, 10, 12]


for record in (plain, trainer):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        expected = record(folder)
        listed = json.loads((folder / "trajectory/trajectory.json").read_text())["checkpoints"]
        assert [one["step"] for one in listed] == expected, listed
        spec = {
            "source": {"base": str(folder / "trajectory/step-000000"), "trajectory": str(folder / "trajectory")},
            "target": {"base": str(folder / "new")},
            "data": {"train": str(folder / "data.safetensors")},
            "methods": ["fgmt"],
            "options": {"trajectory": "stored", "batch_size": 16},
            "output": str(folder / "out"),
        }
        (folder / "spec.json").write_text(json.dumps(spec))
        subprocess.run([sys.argv[1], "transfer", str(folder / "spec.json")], check=True)
        [result] = (folder / "out").iterdir()
        report = json.loads((result / "report.json").read_text())
        last = report["candidates"][0]["last_step"]["step"]
        assert last == len(expected) - 1, last
        print(f"{record.__name__}: {last} recorded steps transferred")
