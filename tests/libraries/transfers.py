"""The task vector carried as it is: `new + (tuned − old)`, tensor by tensor."""

import itertools

from checks import Ask, Check, ExpectedTensors
from models import DTYPES, away_from_defaults, copy_with, neighbours, save
from reference import AUTO
from tensors import carried, stored

SEED, TUNING, SHIFT = 11, 0.05, 0.02
# Formats of the old base, the tuned model and the new base.
FORMATS = [(dtype,) * 3 for dtype in DTYPES] + [("f16", "f32", "f16"), ("f32", "bf16", "f32"), ("bf16", "bf16", "f32")]


def specification(old, tuned, new, output):
    return {
        "source": {"base": str(old), "trajectory": str(tuned)},
        "target": {"base": str(new)},
        "methods": ["identity"],
        "output": str(output),
    }


class Transfers:
    """Of one family: `make(**given)` makes a model of a task."""

    def __init__(self, name, tasks, program, folder):
        self.name, self.tasks, self.program, self.folder = name, tasks, program, folder
        self.number = itertools.count()
        folder.mkdir()

    def all(self):
        for (task, make), formats, same in itertools.product(self.tasks.items(), FORMATS, (True, False)):
            yield self.check(task, make, formats, same, shards=False)
        for (task, make), same in itertools.product(self.tasks.items(), (True, False)):
            yield self.check(task, make, FORMATS[0], same, shards=True)

    def place(self):
        return self.folder / f"{next(self.number):03}"

    def check(self, task, make, formats, same, shards):
        old = save(away_from_defaults(make(), SEED), self.place(), shards=shards)
        state = stored(old)
        old_state, tuned_state, new_state = (
            {name: tensor.to(DTYPES[dtype]) for name, tensor in neighbours(state, seed, noise).items()}
            for dtype, seed, noise in zip(formats, (1, 2, 3), (0.0, TUNING, SHIFT))
        )
        if same:
            new_state = {name: tensor.to(DTYPES[formats[2]]) for name, tensor in old_state.items()}
        old = old if shards else copy_with(old, self.place(), old_state)
        tuned, new = copy_with(old, self.place(), tuned_state), copy_with(old, self.place(), new_state)
        theirs = ExpectedTensors(carried(old_state, tuned_state, new_state), roundings=1)
        case = (
            f"{task}: {' → '.join(dict.fromkeys(formats[:2]))} on {formats[2]}, "
            f"{'the same base' if same else 'another base'}{', shards' if shards else ''}"
        )
        spec, file = specification(old, tuned, new, self.folder / "out"), self.place().with_suffix(".json")
        return Check(self.name, case, "transfer", theirs, Ask(self.program, "transfer", spec, file))


def of_text(family, program, folder):
    tasks = {}
    if family.classifier:
        tasks["classifier"] = lambda: AUTO["classifier"].from_config(family.configured())
    if family.language:
        for tied in (True, False):
            name = "language, tied" if tied else "language"
            tasks[name] = lambda tied=tied: AUTO["language"].from_config(family.configured(tie_word_embeddings=tied))
    return Transfers(family.name, tasks, program, folder).all()


def of_images(family, program, folder):
    return Transfers(
        family.name, {"classifier": lambda: AUTO["image"].from_config(family.configured())}, program, folder
    ).all()
