"""A transfer's report, as a table in a notebook and on a terminal."""

from dataclasses import dataclass
from html import escape

from . import types


@dataclass(frozen=True)
class Row:
    """A model of the report: on the split that judges, and on validation."""

    name: str
    accuracy: float | None
    validation: float | None
    step: int | None = None
    alpha: float | None = None
    is_winner: bool = False

    def cells(self):
        step = "" if self.step is None else str(self.step)
        alpha = "" if self.alpha is None else f"{self.alpha:g}"
        return [self.name, percent(self.accuracy), percent(self.validation), step, alpha]


HEADS = ["model", "test", "validation", "step", "α"]
BASELINES = {
    "source_tuned": "old tuned model",
    "target_before": "new base as it is",
    "few_shot": "few-shot training",
    "fine_tune_only": "new base, trained alone",
}


@dataclass(frozen=True)
class Report:
    """`document` is the whole report (docs/reference/report.md)."""

    document: types.Report

    @property
    def verdict(self):
        return self.document["verdict"]

    @property
    def recommendation(self):
        return self.document["recommendation"]["action"]

    @property
    def reasons(self):
        return self.document["recommendation"]["reasons"]

    @property
    def warnings(self):
        return self.document["warnings"]

    def rows(self):
        """Baselines, candidates and, where there is one, the winner after its training."""
        found = []
        for field, name in BASELINES.items():
            if one := self.document["baselines"].get(field):
                found.append(Row(name, one.get("accuracy"), accuracy_in(one, "validation")))
        for one in self.document["candidates"]:
            test, validation = accuracy_in(one, "test"), accuracy_in(one, "validation")
            found.append(Row(one["method"], test, validation, one["step"], one["alpha"], self.is_winner(one["method"])))
        if one := self.document.get("fine_tune"):
            found.append(Row("winner, fine-tuned", accuracy_in(one, "test"), accuracy_in(one, "validation")))
        return found

    def is_winner(self, method):
        return method == self.document["winner"]

    def summary(self):
        """Verdict and recommendation, in a line."""
        return f"{self.verdict}; winner {self.document['winner']}; recommendation: {self.recommendation}"

    def markdown(self):
        """The table for a comment on a change, or a terminal."""
        lines = [f"| {' | '.join(HEADS)} |", "|---|---:|---:|---:|---:|"]
        lines += [f"| {' | '.join(row.cells())} |" for row in self.rows()]
        lines += ["", self.summary()]
        lines += [f"- {reason}" for reason in self.reasons]
        lines += [f"- warning: {warning}" for warning in self.warnings]
        return "\n".join(lines)

    def __str__(self):
        return self.markdown()

    def _repr_html_(self):
        head = "".join(f"<th>{head}</th>" for head in HEADS)
        body = "".join(html_row(row) for row in self.rows())
        notes = "".join(f"<li>{escape(note)}</li>" for note in [*self.reasons, *self.warnings])
        summary = escape(self.summary())
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table><p>{summary}</p><ul>{notes}</ul>"


def html_row(row):
    cells = "".join(f"<td>{escape(cell)}</td>" for cell in row.cells())
    return f"<tr style='font-weight: bold'>{cells}</tr>" if row.is_winner else f"<tr>{cells}</tr>"


def accuracy_in(one, split):
    return (one.get(split) or {}).get("accuracy")


def percent(share):
    return "" if share is None else f"{100 * share:.1f} %"
