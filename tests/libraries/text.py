"""Loss and accuracy of the families of token ids: paddings, formats, heads and settings."""

import itertools

import torch

import old_files
from checks import Ask, Check, LibraryRefuses, settled
from models import DTYPES, away_from_defaults, copy_with, save
from program import Crashed
from reference import AUTO, IGNORED, expectation
from sentences import Sentences, ended, every_kind, padded, words
from tensors import stored

SEED = 7
# Kinds of data for every file format.
PLAIN_KINDS = ("no mask", "padded right", "padded left")
# Of 16-bit weights every value is exact in f32, in which the program computes.
CLASSES = (2, 3, 7)


class Cases:
    """Checks of one family; models and data lie in `folder`."""

    def __init__(self, family, program, folder):
        self.family, self.program, self.folder = family, program, folder
        self.number = itertools.count()
        folder.mkdir()

    def all(self):
        has = {"classifier": self.family.classifier, "language": self.family.language}
        tasks = tuple(task for task in has if has[task])
        yield from self.paddings(tasks)
        if self.family.tokens:
            yield from self.tokens()
        yield from self.formats(tasks)
        if self.family.classifier:
            yield from self.padding_ids()
            yield from self.classes()
        yield from self.files(tasks)
        yield from self.configured(tasks)

    def place(self):
        return self.folder / f"{next(self.number):03}"

    def model(self, task, given=None, **saving):
        """A model's folder."""
        torch.manual_seed(SEED)
        model = away_from_defaults(AUTO[task].from_config(self.family.configured(**(given or {}))).float(), SEED)
        return save(model, self.place(), **saving)

    def check(self, case, task, model, data, named=(), refuse=""):
        if self.family.end is not None and task == "classifier":
            data = ended(data, self.family.end)
        theirs, data = expectation(model, task, data)
        theirs, named = settled(theirs, named, refuse)
        file = data.write(self.place())
        return Check(
            self.family.name, f"{task}: {case}", "evaluate", theirs, Ask(self.program, "evaluate", model, file), named
        )

    def kinds(self, pad):
        family = self.family
        return every_kind(pad, family.sizes["vocab_size"], family.types, family.positions)

    def paddings(self, tasks):
        """Every way to pad, of the classifier and of the language model."""
        for task in tasks:
            model = self.model(task)
            pad = self.family.configured().pad_token_id
            for kind, data in self.kinds(pad).items():
                if task == "language":
                    data = labelled(model, data)
                yield self.check(kind, task, model, data, data.named)
            if task == "language":
                yield from self.labels(model, pad)
            else:
                yield from self.odd(model)

    def tokens(self):
        """Every way to pad, of a model that tells the class of every token; also labels of some tokens alone."""
        model = self.model("tokens")
        pad = self.family.configured().pad_token_id
        for kind, data in self.kinds(pad).items():
            yield self.check(kind, "tokens", model, token_labels(model, data), data.named)
        some = token_labels(model, self.kinds(pad)["padded right"])
        first = some.labels.clone()
        first[:, 1::2] = IGNORED
        yield self.check("labels of every second token", "tokens", model, some.labelled(first))

    def odd(self, model):
        """Labels and ids that the library ignores or refuses."""
        ids = words(1, self.family.sizes["vocab_size"])
        labels = torch.arange(len(ids)) % 3
        for label in (IGNORED, -1, 3):
            some = labels.clone()
            some[4] = label
            yield self.check(
                f"a label {label}", "classifier", model, Sentences({"input_ids": ids}, labels=some), named=("label",)
            )
        beyond = ids.clone()
        beyond[2, 3] = self.family.sizes["vocab_size"]
        yield self.check(
            "an id beyond the vocabulary",
            "classifier",
            model,
            Sentences({"input_ids": beyond}),
            named=("token", "input_ids"),
        )

    def labels(self, model, pad):
        """Labels as people have them for language models."""
        ids, mask = padded(words(1, self.family.sizes["vocab_size"]), pad, "right")
        columns = {"input_ids": ids, "attention_mask": mask}
        question = ids.masked_fill(mask == 0, IGNORED)
        question[:, :3] = IGNORED
        yield self.check(
            "labels are the ids, no loss on padding",
            "language",
            model,
            Sentences(columns, labels=ids.masked_fill(mask == 0, IGNORED)),
        )
        yield self.check("labels of the answer alone", "language", model, Sentences(columns, labels=question))
        yield self.check(
            "labels count padding",
            "language",
            model,
            Sentences(columns, labels=ids),
            named=("attention_mask", "padded", "-100"),
        )
        left, left_mask = padded(words(1, self.family.sizes["vocab_size"]), pad, "left")
        yield self.check(
            "labels are the ids, padded left",
            "language",
            model,
            Sentences(
                {"input_ids": left, "attention_mask": left_mask}, labels=left.masked_fill(left_mask == 0, IGNORED)
            ),
            named=("attention_mask", "padded"),
        )

    def padding_ids(self):
        """A classifier whose padding is the end of a sentence, another id, or nothing."""
        named = ("pad_token_id", "attention_mask")
        # Positions counted from the padding id need one.
        for pad in (2, 3) if self.family.offset else (2, 3, None):
            model = self.model("classifier", {"pad_token_id": pad, "eos_token_id": 2})
            for kind, data in self.kinds(2 if pad is None else pad).items():
                if "padding id" in kind or kind in PLAIN_KINDS or kind.endswith("no mask"):
                    case = f"pad_token_id {'null' if pad is None else pad}, {kind}"
                    yield self.check(case, "classifier", model, data, named if pad is None else data.named)

    def formats(self, tasks):
        """Formats of numbers, one file or shards, tied outputs."""
        for task, dtype, shards, tied in itertools.product(tasks, DTYPES, (False, True), (False, True)):
            if tied and task == "classifier":
                continue
            given = {"tie_word_embeddings": tied} if self.family.language else {}
            model = self.model(task, given, dtype=dtype, shards=shards)
            pad = self.family.configured().pad_token_id
            for kind in PLAIN_KINDS:
                data = self.kinds(pad)[kind]
                if task == "language":
                    data = labelled(model, data)
                case = f"{dtype}{', shards' if shards else ''}{', tied' if tied else ''}, {kind}"
                yield self.check(case, task, model, data)

    def classes(self):
        for classes in CLASSES:
            model = self.model("classifier", {"num_labels": classes})
            pad = self.family.configured().pad_token_id
            yield self.check(f"{classes} classes", "classifier", model, self.kinds(pad)["padded right"])

    def files(self, tasks):
        """Files as older versions wrote them, with copies of tied outputs, or with the body's own names."""
        pad = self.family.configured().pad_token_id
        data = self.kinds(pad)["padded right"]
        model = self.model("classifier") if "classifier" in tasks else None
        for case, change in old_files.BY_FAMILY.get(self.family.name, {}).items():
            yield self.changed(case, "classifier", model, change, data)
        # Older files of it have the output matrix by the name that it has today.
        if "language" in tasks and self.family.name != "gpt_neox":
            for tied in (True, False):
                model = self.model("language", {"tie_word_embeddings": tied})
                for case, change in old_files.OF_LANGUAGE.items():
                    case = f"{case}, {'tied' if tied else 'not tied'}"
                    yield self.changed(case, "language", model, change, labelled(model, data))

    def changed(self, case, task, model, change, data):
        """A model in a file that was changed; the library reads classifiers as they were."""
        folder = copy_with(model, self.place(), change(stored(model)))
        by_itself = task == "language" or change is old_files.mixed
        theirs, data = expectation(folder if by_itself else model, task, data)
        file = data.write(self.place())
        # Without its own head an untied model's would be drawn at random.
        told = (old_files.with_another_head, old_files.without_head)
        named = ("lm_head", "tie_word_embeddings") if change in told else ()
        return Check(
            self.family.name, f"{task}: {case}", "evaluate", theirs, Ask(self.program, "evaluate", folder, file), named
        )

    def configured(self, tasks):
        """Every setting, on sentences padded right."""
        for setting in self.family.settings:
            for task in tasks:
                if task not in setting.tasks:
                    continue
                yield self.set(setting, task)

    def set(self, setting, task):
        try:
            data = self.data(setting, self.family.configured(**setting.config))
            model = self.model(task, setting.config, edit=setting.edit)
        except Exception as error:  # The library cannot even make it.
            answer = Crashed(f"the library cannot make it: {error}")
            return Check(self.family.name, f"{task}: {setting.name}", "evaluate", LibraryRefuses(""), lambda: answer)
        if task == "language":
            data = labelled(model, data)
        return self.check(setting.name, task, model, data, setting.named, setting.refuse)

    def data(self, setting, config):
        ids = words(1, self.family.sizes["vocab_size"], **({"length": setting.length} if setting.length else {}))
        pad = config.pad_token_id
        if pad is None or pad < 0:
            return Sentences({"input_ids": ids})
        return Sentences(dict(zip(("input_ids", "attention_mask"), padded(ids, pad, "right"))))


def labelled(model, data):
    """Labels for every token that is not padding."""
    _, found = expectation(model, "language", data)
    labels = found.labels
    mask = data.columns.get("attention_mask")
    if mask is not None:
        # Predicted are tokens of the sentence, by tokens of the sentence.
        before = mask.roll(1, 1)
        before[:, 0] = 0
        labels = labels.masked_fill((mask == 0) | (before == 0), IGNORED)
    return data.labelled(labels)


def token_labels(model, data):
    """A label for every token that is not padding."""
    _, found = expectation(model, "tokens", data)
    mask = data.columns.get("attention_mask")
    labels = found.labels
    return data.labelled(labels if mask is None else labels.masked_fill(mask == 0, IGNORED))
