"""The library's own loss and accuracy of a folder, in f64."""

import inspect
import math

import timm
import torch
import transformers as t

from checks import Expected, LibraryRefuses

AUTO = {
    "classifier": t.AutoModelForSequenceClassification,
    "language": t.AutoModelForCausalLM,
    "tokens": t.AutoModelForTokenClassification,
    "image": t.AutoModelForImageClassification,
}
IGNORED = -100
# Logits this close may be ordered either way by rounding.
CLOSE = 1e-3


class Reference:
    """A model as the library reads it."""

    def __init__(self, folder, task):
        self.task = task
        self.model = AUTO[task].from_pretrained(folder, dtype=torch.float64).eval()
        if self.model.config._attn_implementation == "eager" and task != "image":
            # Its softmax is in f32, in which the mask of f64 is infinite and padding no number. Images have none.
            self.model = AUTO[task].from_pretrained(folder, dtype=torch.float32).eval()
        if hasattr(self.model, "set_experts_implementation"):
            # The faster one knows no f64.
            self.model.set_experts_implementation("eager")
        self.read = inspect.signature(self.model.forward).parameters

    def logits(self, columns):
        """Of all rows; one row at a time where the library takes no more without a padding id."""
        columns = {
            name: column.double() if column.is_floating_point() else column
            for name, column in columns.items()
            if name in self.read
        }
        try:
            return self.forward(columns).logits
        except ValueError as error:
            if "batch sizes > 1" not in str(error):
                raise
            rows = len(next(iter(columns.values())))
            return torch.cat([self.forward({n: c[i : i + 1] for n, c in columns.items()}).logits for i in range(rows)])

    def forward(self, columns, **more):
        with torch.no_grad():
            return self.model(**columns, **more)

    def labels(self, columns, seed=5):
        """Half of them right, so that an accuracy says something."""
        logits = self.logits(columns)
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randint(0, logits.shape[-1], logits.shape[:-1], generator=generator)
        chosen = torch.rand(logits.shape[:-1], generator=generator) < 0.5
        return torch.where(chosen, logits.argmax(-1), drawn)

    def next_tokens(self, columns, seed=5):
        """As `labels`, shifted, so that each is predicted by the token before it."""
        labels = self.labels(columns, seed)
        return torch.cat([labels[:, :1], labels[:, :-1]], dim=1)

    def judged(self, columns, labels):
        """`Expected`: by the library's own loss where it takes all rows at once, else the mean over rows."""
        logits = self.logits(columns)
        if self.task == "language":
            logits, labels = logits[:, :-1], labels[:, 1:]
        kept = labels != IGNORED
        loss = torch.nn.functional.cross_entropy(logits[kept], labels[kept]).item()
        best = logits[kept].topk(2).values
        close = ((best[:, 0] - best[:, 1]).abs() < CLOSE).double().mean().item()
        return Expected(loss, (logits.argmax(-1)[kept] == labels[kept]).double().mean().item(), close)


class TimmReference(Reference):
    """A folder as timm reads it back."""

    def __init__(self, folder):
        self.task = "image"
        self.model = timm.create_model(f"local-dir:{folder}", pretrained=True).double().eval()

    def logits(self, columns):
        with torch.no_grad():
            found = self.model(columns["pixel_values"].double())
        if found.ndim != 2 or found.shape[1] < 2:
            raise ValueError(f"puts out {list(found.shape)}")
        return found


def expectation(folder, task, data):
    """`Expected` or `LibraryRefuses`, with labels for the data."""
    try:
        model = TimmReference(folder) if task == "timm" else Reference(folder, task)
        if data.labels is None:
            draw = model.next_tokens if task == "language" else model.labels
            data = data.labelled(draw(data.columns))
        found = model.judged(data.columns, data.labels)
    except Exception as error:  # Whatever it raises, it does not read this.
        why = str(error).strip().splitlines()
        found = LibraryRefuses(f"{type(error).__name__}: {why[0] if why else ''}")
    else:
        if not math.isfinite(found.loss):
            found = LibraryRefuses("the loss is not finite")
    if data.labels is None:
        rows = next(iter(data.columns.values()))
        shape = rows.shape if task in ("language", "tokens") else rows.shape[:1]
        data = data.labelled(torch.zeros(shape, dtype=torch.int64))
    return found, data
