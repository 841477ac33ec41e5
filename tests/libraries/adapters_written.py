"""What `options.update` writes is an adapter that peft loads on the new base and merges, for every family.

    python adapters_written.py path/to/retune [FAMILY …]

Each case makes two bases and a tuned model with transformers, has `retune transfer` write the update at full
rank, and compares what the new base puts out under that adapter, before and after `merge_and_unload`, with what
the model that was published puts out.
"""

import json
import pathlib
import re
import subprocess
import sys
import tempfile
import warnings
from dataclasses import dataclass

import peft
import torch
import transformers as t

import families

TOLERANCE = 1e-4
# As wide as the widest layer of a small model.
FULL_RANK = 40
# What an adapter leaves out, and a report names: experts, their routers, sinks. It stays as the old base has it.
LEFT_OUT = re.compile(r"\.(experts|router|gate|sinks)\b")
MODELS = {
    "body": t.AutoModel,
    "classifier": t.AutoModelForSequenceClassification,
    "image": t.AutoModelForImageClassification,
    "language": t.AutoModelForCausalLM,
    "tokens": t.AutoModelForTokenClassification,
}
ENCODERS = {"t5": t.T5EncoderModel, "mt5": t.MT5EncoderModel}


@dataclass(frozen=True)
class Case:
    """A tuned model for `task`, on bases that are models for `base`."""

    family: object
    task: str
    base: str
    given: dict

    @property
    def name(self):
        tied = ", tied" if self.given.get("tie_word_embeddings") else ""
        return f"{self.family.name}, {self.task}{tied}" + (f" on {self.base}" if self.base != self.task else "")

    @property
    def is_refused(self):
        """Of a body that is carried by names alone nobody knows the layers."""
        return self.task == "body" and not self.family.body

    def models(self, folder):
        """Both bases and the tuned model, as the library saves them."""
        of_base, of_task = MODELS[self.base], MODELS[self.task]
        # The body of a classifier of tokens is one side of a family with two.
        if (self.base, self.task) == ("body", "tokens") and self.family.end is not None:
            of_base = ENCODERS[self.family.name]
        made = getattr(of_base, "from_config", of_base)
        moved(made(self.family.configured(**self.given)), 0.2).save_pretrained(folder / "old")
        moved(of_base.from_pretrained(folder / "old"), 0.02).save_pretrained(folder / "new")
        tuned = of_task.from_pretrained(folder / "old", **self.classes())
        moved(tuned, 0.05, still=LEFT_OUT).save_pretrained(folder / "tuned")

    def classes(self):
        return {} if self.task in ("body", "language") else {"num_labels": 3}

    def inputs(self):
        if self.task == "image":
            return {"pixel_values": torch.randn(4, 3, 8, 8)}
        ids = torch.randint(4, families.VOCABULARY, (4, 7))
        if self.family.end is not None:
            ids[:, -1] = self.family.end
        return {"input_ids": ids}

    def read(self, folder):
        return MODELS[self.task].from_pretrained(folder, **self.classes())

    def differences(self, program):
        """The largest of what is put out: under the adapter, and once it is merged."""
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            self.models(folder)
            result, inputs = transfer(program, folder), self.inputs()
            wanted = put_out(self.read(result), inputs)
            adapted = peft.PeftModel.from_pretrained(self.read(folder / "new"), result / "adapter")
            under = (put_out(adapted, inputs) - wanted).abs().max().item()
            merged = (put_out(adapted.merge_and_unload(), inputs) - wanted).abs().max().item()
            return under, merged


def cases():
    """Every task of every family, on bases that have its head and on those that do not."""
    for family in families.IMAGE:
        yield Case(family, "image", "image", {})
        yield Case(family, "image", "body", {})
    for family in families.TEXT:
        yield Case(family, "body", "body", {})
        base = "language" if family.language else "body"
        if family.language:
            for tied in (False, True):
                yield Case(family, "language", "language", {"tie_word_embeddings": tied})
        for task, is_there in (("classifier", family.classifier), ("tokens", family.tokens)):
            if is_there:
                yield Case(family, task, task, {})
                yield Case(family, task, base, {})


def moved(model, scale, still=None):
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if still is None or not still.search(name):
                parameter.add_(scale * torch.randn_like(parameter))
    return model


def put_out(model, inputs):
    with torch.no_grad():
        return model.eval()(**inputs)[0]


def transfer(program, folder):
    spec = {
        "source": {"base": str(folder / "old"), "trajectory": str(folder / "tuned")},
        "target": {"base": str(folder / "new")},
        "methods": ["identity"],
        "options": {"alpha": 1.0, "update": {"format": "lora", "rank": FULL_RANK}},
        "output": str(folder / "out"),
    }
    (folder / "spec.json").write_text(json.dumps(spec))
    command = [program, "transfer", "--json", str(folder / "spec.json")]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise RuntimeError(ran.stderr + ran.stdout)
    [result] = (folder / "out").iterdir()
    return result


def failure(program, case):
    """What is wrong with a case, in words."""
    try:
        under, merged = case.differences(program)
    except Exception as error:  # Whatever is raised, the adapter cannot be used.
        if case.is_refused and "leave options.update out" in str(error):
            return None
        return f"{type(error).__name__}: {error}"
    if case.is_refused:
        return "is not refused"
    if max(under, merged) < TOLERANCE:
        return None
    return f"differs by {under:.1e} under the adapter, by {merged:.1e} merged"


def main(program, only=()):
    """Prints a line for each case that is wrong, and how many are right; returns how many are wrong."""
    warnings.filterwarnings("ignore")
    t.logging.set_verbosity_error()
    t.logging.disable_progress_bar()
    torch.manual_seed(0)
    asked = [case for case in cases() if not only or case.family.name in only]
    wrong = [(case.name, found) for case in asked if (found := failure(program, case))]
    for name, found in wrong:
        print(f"an adapter that the program wrote, {name}: {found}")
    print(f"adapters that the program wrote: {len(asked) - len(wrong)} passed, {len(wrong)} failed")
    return len(wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]) > 0)
