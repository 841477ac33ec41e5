"""Tunings with a head that the bases lack: a body, or a language model, below a new classifier.

The result is read back by the library: what the bases have is `new + (tuned − old)`, the head is the tuned model's.
"""

import itertools

import peft
import torch
import transformers as t

from checks import Ask, Check, ExpectedModel, LibraryRefuses
from models import away_from_defaults, copy_with, neighbours, save
from program import Crashed
from reference import AUTO
from tensors import stored
from transfers import specification

SEED, TUNING, SHIFT = 17, 0.05, 0.02
NOT_KEPT = [("bert", "a language model"), ("modernbert", "a body")]
BASES = {"a body": t.AutoModel, "a language model": None}


class Cases:
    """Of one family of token ids."""

    def __init__(self, family, program, folder):
        self.family, self.program, self.folder = family, program, folder
        self.number = itertools.count()
        folder.mkdir()

    def all(self):
        for below, adapted, classes in itertools.product(BASES, (False, True), (2, 5)):
            # These have no pooler or no layer before the classifier, and peft does not keep a new one.
            if adapted and (self.family.name, below) in NOT_KEPT:
                continue
            yield self.check(below, adapted, classes)
        if self.family.end is not None:
            yield self.without_head()

    def without_head(self):
        """An adapter whose head peft has not saved: each time it is loaded the head is drawn at random."""
        old = self.base("a body")
        model = peft.get_peft_model(
            self.loaded(old, 2, torch.float32),
            peft.LoraConfig(task_type="SEQ_CLS", target_modules=self.family.targets["attention"]),
        )
        tuned = self.place()
        model.save_pretrained(tuned)
        spec, file = specification(old, tuned, old, self.folder / "out"), self.place().with_suffix(".json")
        theirs, ask = LibraryRefuses("the head is lost"), Ask(self.program, "transfer", spec, file)
        return Check(self.family.name, "an adapter without its head", "transfer", theirs, ask, ("classification_head",))

    def place(self):
        return self.folder / f"{next(self.number):03}"

    def check(self, below, adapted, classes):
        case = f"{below} below a {'SEQ_CLS adapter' if adapted else 'classifier'} of {classes}"
        try:
            old = self.base(below)
            new = copy_with(old, self.place(), neighbours(stored(old), 3, SHIFT))
            tuned, merged = (self.adapter if adapted else self.classifier)(old, classes)
            theirs = ExpectedModel(self.expected(old, new, merged, classes), roundings=4)
        except Exception as error:
            said = Crashed(f"the library cannot make it: {error}")
            return Check(self.family.name, case, "transfer", LibraryRefuses(""), lambda: said)
        spec, file = specification(old, tuned, new, self.folder / "out"), self.place().with_suffix(".json")
        return Check(self.family.name, case, "transfer", theirs, Ask(self.program, "transfer", spec, file))

    def base(self, below):
        torch.manual_seed(SEED)
        auto = BASES[below] or t.AutoModelForMaskedLM
        if BASES[below] is None and self.family.language:
            auto = t.AutoModelForCausalLM
        elif BASES[below] is None and self.family.end is not None:
            auto = t.AutoModelForSeq2SeqLM
        return save(away_from_defaults(auto.from_config(self.family.configured()), SEED), self.place())

    def classifier(self, old, classes):
        """A folder, and its tensors by the library's names."""
        model = self.loaded(old, classes, torch.float32)
        tuned = save(away_from_defaults(model, SEED + 1, TUNING), self.place())
        return tuned, AUTO["classifier"].from_pretrained(tuned, dtype=torch.float64).state_dict()

    def adapter(self, old, classes):
        # Of itself peft saves `classifier` and `score`: a head by another name is lost.
        saved = ["classification_head"] if self.family.end is not None else None
        config = peft.LoraConfig(
            task_type="SEQ_CLS", target_modules=self.family.targets["attention"], modules_to_save=saved
        )
        model = peft.get_peft_model(self.loaded(old, classes, torch.float32), config)
        generator = torch.Generator().manual_seed(SEED)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
        tuned = self.place()
        model.save_pretrained(tuned)
        merged = peft.PeftModel.from_pretrained(self.loaded(old, classes, torch.float64), tuned)
        return tuned, merged.double().merge_and_unload().state_dict()

    def loaded(self, folder, classes, dtype):
        torch.manual_seed(SEED)
        return AUTO["classifier"].from_pretrained(folder, num_labels=classes, dtype=dtype)

    def expected(self, old, new, tuned, classes):
        _, said = AUTO["classifier"].from_pretrained(old, num_labels=classes, output_loading_info=True)
        old = self.loaded(old, classes, torch.float64).state_dict()
        new = self.loaded(new, classes, torch.float64).state_dict()
        return {
            name: tuned[name] if name in said["missing_keys"] else new[name] + (tuned[name] - old[name])
            for name in tuned
        }
