"""Loss and measure of the heads that tell no class: values, several labels, the ends of an answer, words.

The loss is the library's own, of all rows at once. The measure is R² of values, and elsewhere the share of what is
right: of samples that have all labels or both ends right, of tokens that are asked for.
"""

import itertools

import torch
import transformers as t

from checks import Ask, Check, Expected, LibraryRefuses, settled
from models import away_from_defaults, save
from reference import CLOSE, IGNORED
from sentences import every_kind

SEED = 23
ENCODERS = (
    "bert", "roberta", "xlm-roberta", "camembert", "distilbert", "electra", "albert", "mpnet", "deberta-v2",
    "modernbert",
)
# The library's class and what its configuration is given.
TASKS = {
    "a value": (t.AutoModelForSequenceClassification, {"num_labels": 1}),
    "three values": (t.AutoModelForSequenceClassification, {"num_labels": 3, "problem_type": "regression"}),
    "three labels": (
        t.AutoModelForSequenceClassification, {"num_labels": 3, "problem_type": "multi_label_classification"},
    ),
    "one label": (
        t.AutoModelForSequenceClassification, {"num_labels": 1, "problem_type": "multi_label_classification"},
    ),
    "an answer": (t.AutoModelForQuestionAnswering, {"num_labels": 2}),
    "words": (t.AutoModelForMaskedLM, {}),
    "words, not tied": (t.AutoModelForMaskedLM, {"tie_word_embeddings": False}),
}
# Families whose classifier is read for one label a sample alone.
CLASSES_ALONE = ("t5", "mt5")


class Cases:
    """Of one family of token ids."""

    def __init__(self, family, program, folder):
        self.family, self.program, self.folder = family, program, folder
        self.number = itertools.count()
        folder.mkdir()

    def all(self):
        for task, (auto, given) in TASKS.items():
            of_samples = auto is t.AutoModelForSequenceClassification
            if self.family.name not in ENCODERS and not (of_samples and self.family.classifier):
                continue
            model = self.model(auto, given)
            pad = self.family.configured().pad_token_id
            kinds = every_kind(pad, self.family.sizes["vocab_size"], self.family.types, self.family.positions)
            for kind, data in kinds.items():
                # Rows of a file without padding have as many labels as tokens; others are of another form.
                if data.parquet and "words" not in task:
                    continue
                yield self.check(task, kind, auto, model, data)

    def place(self):
        return self.folder / f"{next(self.number):03}"

    def model(self, auto, given):
        torch.manual_seed(SEED)
        model = auto.from_config(self.family.configured(**given)).float()
        return save(away_from_defaults(model, SEED), self.place())

    def check(self, task, kind, auto, folder, data):
        try:
            model = auto.from_pretrained(folder, dtype=torch.float64).eval()
            if model.config._attn_implementation == "eager":
                model = auto.from_pretrained(folder, dtype=torch.float32).eval()
            if hasattr(model, "set_experts_implementation"):
                model.set_experts_implementation("eager")  # The faster one knows no f64.
            theirs, data = judged(model, task, data)
        except Exception as error:  # Whatever it raises, it does not read this.
            theirs = LibraryRefuses(f"{type(error).__name__}: {error}".splitlines()[0])
            data = data.labelled(nothing(task, data))
        theirs, named = settled(theirs, data.named, "")
        if self.family.name in CLASSES_ALONE:
            named = ("one label", "problem_type")
        file = data.write(self.place())
        ask = Ask(self.program, "evaluate", folder, file)
        return Check(self.family.name, f"{task}: {kind}", "evaluate", theirs, ask, named)


def nothing(task, data):
    """Labels of the right form for data that the library does not read."""
    rows = len(data.columns["input_ids"])
    if task.startswith("words"):
        return torch.zeros_like(data.columns["input_ids"])
    if task == "an answer":
        return torch.zeros(rows, 2, dtype=torch.int64)
    return torch.zeros(rows, 1 if task in ("a value", "one label") else 3)


def judged(model, task, data):
    """`Expected`, and the data with labels of which about half are right."""
    generator = torch.Generator().manual_seed(SEED)
    columns = dict(data.columns)
    with torch.no_grad():
        found = model(**columns)
    rows = len(columns["input_ids"])
    is_kept = torch.rand(rows, generator=generator) < 0.5
    if task == "an answer":
        return of_answers(model, columns, found, is_kept, data, generator)
    if task.startswith("words"):
        return of_words(model, columns, found.logits, data, generator)
    logits = found.logits
    if "value" in task:
        labels = logits + 0.3 * torch.randn(logits.shape, generator=generator, dtype=logits.dtype)
        labels = labels.float().to(logits.dtype)
        loss = loss_of(model, columns, labels=labels)
        spread = (labels - labels.mean(0)).square().mean()
        r2 = 1 - ((logits - labels).square().mean() / spread).item()
        # Rounding of a loss is one of R² too.
        return Expected(loss, r2, close=1e-4), data.labelled(labels.float())
    right = (logits > 0).to(logits.dtype)
    drawn = torch.randint(0, 2, logits.shape, generator=generator).to(logits.dtype)
    labels = torch.where(is_kept[:, None], right, drawn)
    close = (logits.abs() < CLOSE).any(1).double().mean().item()
    accuracy = (right == labels).all(1).double().mean().item()
    return Expected(loss_of(model, columns, labels=labels), accuracy, close), data.labelled(labels.float())


def of_answers(model, columns, found, is_kept, data, generator):
    ends = torch.stack([found.start_logits, found.end_logits], 1)
    right = ends.argmax(2)
    length = ends.shape[2]
    labels = torch.where(is_kept[:, None], right, torch.randint(0, length, right.shape, generator=generator))
    # Of the last there is no answer in the sentence.
    labels[-1] = length + 3
    loss = loss_of(model, columns, start_positions=labels[:, 0], end_positions=labels[:, 1])
    kept = slice(0, -1)
    best = ends[kept].topk(min(2, length), 2).values
    close = ((best[..., 0] - best[..., -1]).abs() < CLOSE).any(1).double().mean().item() if length > 1 else 0.0
    accuracy = (right[kept] == labels[kept]).all(1).double().mean().item()
    return Expected(loss, accuracy, close), data.labelled(labels)


def of_words(model, columns, logits, data, generator):
    right = logits.argmax(2)
    drawn = torch.randint(0, logits.shape[2], right.shape, generator=generator)
    labels = torch.where(torch.rand(right.shape, generator=generator) < 0.5, right, drawn)
    if labels.shape[1] > 1:
        labels[:, 1::2] = IGNORED
    mask = columns.get("attention_mask")
    if mask is not None:
        labels = labels.masked_fill(mask == 0, IGNORED)
    kept = labels != IGNORED
    best = logits[kept].topk(2).values
    close = ((best[:, 0] - best[:, 1]).abs() < CLOSE).double().mean().item()
    accuracy = (right[kept] == labels[kept]).double().mean().item()
    return Expected(loss_of(model, columns, labels=labels), accuracy, close), data.labelled(labels)


def loss_of(model, columns, **labels):
    labels = {name: value[:, 0] if is_one_value(model, name, value) else value for name, value in labels.items()}
    with torch.no_grad():
        return model(**columns, **labels).loss.item()


def is_one_value(model, name, value):
    return name == "labels" and value.ndim == 2 and model.config.problem_type is None and value.shape[1] == 1
