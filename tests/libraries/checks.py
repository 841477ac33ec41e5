"""One comparison: what the library gives, what the program gives, and the verdict."""

from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from program import Crashed, Folder, Numbers, Program, Refused
from tensors import difference, loaded, stored


@dataclass(frozen=True)
class Expected:
    """The library's own loss and accuracy; `close` is the share of samples too close to call."""

    loss: float
    accuracy: float
    close: float = 0.0

    def __str__(self):
        return f"loss {self.loss:.6g} accuracy {self.accuracy:.4f}"


@dataclass(frozen=True)
class LibraryRefuses:
    """The library raises, or what it computes is no classifier's loss: the program must refuse."""

    why: str

    def __str__(self):
        return f"refuses: {self.why}"


def settled(theirs, named, refuse):
    """What is expected, and which words a refusal needs: none where the library raises by itself."""
    if refuse:
        return LibraryRefuses(refuse), named
    return theirs, () if isinstance(theirs, LibraryRefuses) else named


@dataclass(frozen=True)
class ExpectedTensors:
    """What a transfer must publish, by tensor, in f64, up to so many roundings."""

    tensors: dict
    roundings: float = 1.0

    def __str__(self):
        return f"{len(self.tensors)} tensors"


@dataclass(frozen=True)
class ExpectedModel(ExpectedTensors):
    """The same by the names that the library's classifier has, which must read the result."""


@dataclass(frozen=True)
class Ask:
    """A question to the program, which can be put again by hand."""

    program: Program
    what: str
    given: object
    file: Path

    def __call__(self):
        return getattr(self.program, self.what)(self.given, self.file)

    def __str__(self):
        return (
            f"retune evaluate {self.given} --data {self.file}"
            if self.what == "evaluate"
            else f"retune transfer {self.file}"
        )


@dataclass(frozen=True)
class Check:
    family: str
    case: str
    what: str
    theirs: object
    ask: Ask | Callable
    # A refusal is right where it contains one of these words; without any, refusing is a fault.
    named: tuple = ()
    # Relative difference of losses that rounding explains.
    bound: float = 3e-5

    def row(self, ours):
        """What came of the program's answer."""
        verdict, said = judged(self, ours)
        return Row(self.family, self.case, self.what, str(self.theirs), said or str(ours), verdict, str(self.ask))


@dataclass(frozen=True)
class Row:
    family: str
    case: str
    what: str
    theirs: str
    ours: str
    verdict: str
    command: str

    @property
    def passed(self):
        return self.verdict in ("equal", "refused", "refused by name")


def judged(check, ours):
    """The verdict, and a description of ours where its own does not show the difference."""
    if isinstance(ours, Crashed):
        return "CRASHED", None
    if isinstance(ours, Refused):
        return refusal(check, ours), None
    if isinstance(check.theirs, LibraryRefuses):
        return "ACCEPTED", None
    if isinstance(ours, Folder):
        read = loaded if isinstance(check.theirs, ExpectedModel) else stored
        said = difference(check.theirs.tensors, read(ours.path), check.theirs.roundings)
        return ("equal", None) if said is None else ("DIFFERS", said)
    if not isinstance(ours, Numbers):
        return "CRASHED", None
    near = abs(ours.loss - check.theirs.loss) <= check.bound * (1 + abs(check.theirs.loss))
    same = abs(ours.accuracy - check.theirs.accuracy) <= check.theirs.close + 1e-9
    return ("equal" if near and same else "DIFFERS"), None


def refusal(check, ours):
    said = f"{ours.code} {ours.detail}".lower()
    if any(word.lower() in said for word in check.named):
        return "refused by name"
    # What the library itself cannot read may be refused in any words.
    if isinstance(check.theirs, LibraryRefuses) and not check.named:
        return "refused"
    return "REFUSED" if not check.named else "REFUSED WITHOUT NAME"
