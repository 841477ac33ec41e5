"""Loss and accuracy of the families from sequence to sequence: paddings, targets, formats, settings, transfers."""

import copy
import itertools
from dataclasses import dataclass, replace

import torch
import transformers as t

from checks import Ask, Check, Expected, LibraryRefuses, settled
from models import ABSENT, DTYPES, away_from_defaults, save
from program import Crashed
from reference import CLOSE, IGNORED
from sentences import Sentences, padded, words
from settings import equal, named
from transfers import Transfers

SEED, VOCABULARY, POSITIONS, FRAMES, BINS = 7, 40, 16, 12, 5
ROWS, TARGETS = 12, 7
T5 = {"d_model": 16, "d_kv": 4, "d_ff": 24, "num_layers": 2, "num_heads": 4, "vocab_size": VOCABULARY}
T5 |= {"relative_attention_num_buckets": 8, "relative_attention_max_distance": 9, "decoder_start_token_id": 0}
KIN = {
    "d_model": 16,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 20,
    "vocab_size": VOCABULARY,
    "pad_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 2,
    "forced_eos_token_id": 2,
}
BART = KIN | {"max_position_embeddings": POSITIONS}
WHISPER = KIN | {
    "num_mel_bins": BINS,
    "max_source_positions": FRAMES // 2,
    "max_target_positions": POSITIONS,
    "bos_token_id": 3,
    "begin_suppress_tokens": None,
}
OF_T5 = [
    *[named(f"gated {name}", {"feed_forward_proj": f"gated-{name}"}) for name in ("gelu", "silu", "relu", "mish")],
    equal("another first id", {"decoder_start_token_id": 3}),
    equal("another padding", {"pad_token_id": 5}),
    named("no padding", {}, {"pad_token_id": None}),
    equal("one layer in the decoder", {"num_decoder_layers": 1}),
    equal("outputs that are not scaled", {}, {"scale_decoder_outputs": False}),
    equal("as version 4 writes T5 1.1", {}, {"scale_decoder_outputs": ABSENT, "tie_word_embeddings": False}),
    named("no first id", {}, {"decoder_start_token_id": ABSENT}),
    named("num_decoder_layers says fewer than the file has", {}, {"num_decoder_layers": 1}),
    named("a key that nobody knows", {}, {"some_new_key": 1}),
]
OF_KIN = [
    *[named(f"activation {name}", {"activation_function": name}) for name in ("gelu", "relu", "swish", "gelu_new", "mish")],
    equal("another first id", {"decoder_start_token_id": 3}),
    equal("another padding", {"pad_token_id": 5}),
    equal("dropouts", {"dropout": 0.5, "attention_dropout": 0.5, "activation_dropout": 0.5}),
    equal("one layer in the decoder", {"decoder_layers": 1}),
    equal("other heads", {"encoder_attention_heads": 2, "decoder_attention_heads": 4}),
    named("decoder_layers says fewer than the file has", {}, {"decoder_layers": 1}),
    named("a key that nobody knows", {}, {"some_new_key": 1}),
]
OF_SCALES = [equal("scaled embeddings", {"scale_embedding": True}), equal("plain embeddings", {"scale_embedding": False})]


@dataclass(frozen=True)
class Writer:
    """A family that writes, with the sizes of a small one."""

    name: str
    model: type
    config: type
    sizes: dict
    settings: list
    # Tokens of a sequence at most; the library has no limit where absent.
    longest: int | None = None
    # An output matrix of its own.
    untied: bool = False
    # It reads features of sound.
    hears: bool = False

    def made(self, **given):
        """A model of the library's class."""
        model = self.model(self.config(**copy.deepcopy(self.sizes | given))).float()
        if self.untied:
            model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.lm_head.weight))
        if hasattr(model, "final_logits_bias"):
            model.final_logits_bias.normal_()
        # Computed positions are no part of the file.
        computed = {name for name, part in model.named_modules() if "Sinusoidal" in type(part).__name__}
        kept = {name: model.get_submodule(name).weight.data.clone() for name in computed}
        away_from_defaults(model, SEED)
        for name, weight in kept.items():
            model.get_submodule(name).weight.data = weight
        return model


FAMILIES = [
    Writer("t5-writer", t.T5ForConditionalGeneration, t.T5Config, T5, OF_T5),
    Writer("t5-writer-untied", t.T5ForConditionalGeneration, t.T5Config, T5, [], untied=True),
    Writer("mt5-writer", t.MT5ForConditionalGeneration, t.MT5Config, T5, []),
    Writer("bart-writer", t.BartForConditionalGeneration, t.BartConfig, BART, OF_KIN + OF_SCALES, POSITIONS),
    Writer("mbart-writer", t.MBartForConditionalGeneration, t.MBartConfig, BART, OF_KIN + OF_SCALES, POSITIONS),
    Writer("marian-writer", t.MarianMTModel, t.MarianConfig, BART, OF_KIN + OF_SCALES, POSITIONS),
    Writer("pegasus-writer", t.PegasusForConditionalGeneration, t.PegasusConfig, BART, OF_KIN + OF_SCALES, POSITIONS),
    Writer("whisper", t.WhisperForConditionalGeneration, t.WhisperConfig, WHISPER, OF_KIN, POSITIONS, hears=True),
]


def targets(length=TARGETS, rows=ROWS):
    """Of every length, the shortest and the longest among them."""
    labels, mask = padded(words(4, VOCABULARY, rows, length), 0, "right")
    return labels.masked_fill(mask == 0, IGNORED)


def expectation(family, folder, columns, labels):
    """`Expected` or `LibraryRefuses`."""
    try:
        model = family.model.from_pretrained(folder, dtype=torch.float64).eval()
        columns = {name: c.double() if c.is_floating_point() else c for name, c in columns.items()}
        with torch.no_grad():
            logits = model(**columns, labels=labels).logits
    except Exception as error:  # Whatever it raises, it does not read this.
        return LibraryRefuses(f"{type(error).__name__}: {error}")
    kept = labels != IGNORED
    loss = torch.nn.functional.cross_entropy(logits[kept], labels[kept]).item()
    best = logits[kept].topk(2).values
    close = ((best[:, 0] - best[:, 1]).abs() < CLOSE).double().mean().item()
    return Expected(loss, (logits.argmax(-1)[kept] == labels[kept]).double().mean().item(), close)


@dataclass(frozen=True)
class Ragged(Sentences):
    """Columns of Parquet as long as their sequences."""

    def write(self, path):
        import pyarrow
        from pyarrow import parquet

        path, mask = path.with_suffix(".parquet"), self.columns["attention_mask"]
        table = {n: [row[keep == 1].tolist() for row, keep in zip(c, mask)] for n, c in self.columns.items()}
        table["labels"] = [row[row != IGNORED].tolist() for row in self.labels]
        parquet.write_table(pyarrow.table(table), path)
        return path


class Cases:
    """Checks of one family; models and data lie in `folder`."""

    def __init__(self, family, program, folder):
        self.family, self.program, self.folder = family, program, folder
        self.number = itertools.count()
        folder.mkdir()

    def all(self):
        model = self.model()
        for kind, data in self.kinds().items():
            yield self.check(kind, model, data, data.named)
        for dtype, shards in itertools.product(DTYPES, (False, True)):
            made = self.model(dtype=dtype, shards=shards)
            yield self.check(f"{dtype}{', shards' if shards else ''}", made, self.plain())
        for setting in self.family.settings:
            yield self.set(setting)
        yield from Transfers(
            self.family.name, {"writer": self.family.made}, self.program, self.folder / "transfers"
        ).all()

    def place(self):
        return self.folder / f"{next(self.number):03}"

    def model(self, given=None, **saving):
        torch.manual_seed(SEED)
        return save(self.family.made(**(given or {})), self.place(), **saving)

    def check(self, case, model, data, named=(), refuse=""):
        theirs, named = settled(expectation(self.family, model, data.columns, data.labels), named, refuse)
        ask = Ask(self.program, "evaluate", model, data.write(self.place()))
        return Check(self.family.name, f"writer: {case}", "evaluate", theirs, ask, named)

    def set(self, setting):
        try:
            model = self.model(setting.config, edit=setting.edit)
        except Exception as error:  # The library cannot even make it.
            answer = Crashed(f"the library cannot make it: {error}")
            return Check(self.family.name, f"writer: {setting.name}", "evaluate", LibraryRefuses(""), lambda: answer)
        return self.check(setting.name, model, self.plain(), setting.named, setting.refuse)

    def plain(self):
        return self.kinds()["padded right"]

    def inputs(self):
        """Columns of the input, by the name of their kind."""
        if self.family.hears:
            generator = torch.Generator().manual_seed(3)
            return {"padded right": {"input_features": torch.randn((ROWS, BINS, FRAMES), generator=generator)}}
        ids = words(1, VOCABULARY, ROWS)
        both = ("input_ids", "attention_mask")
        pad = self.family.config(**self.family.sizes).pad_token_id
        return {
            "no mask": {"input_ids": ids},
            "padded right": dict(zip(both, padded(ids, pad, "right"))),
            "padded left": dict(zip(both, padded(ids, pad, "left"))),
            "one token": {"input_ids": ids[:, :1]},
        }

    def kinds(self):
        inputs = self.inputs()
        kinds = {kind: Sentences(columns, labels=targets()) for kind, columns in inputs.items()}
        plain = kinds["padded right"]
        amid = plain.labels.clone()
        amid[:, 2] = IGNORED
        kinds |= {
            "a token amid that is not learned": plain.labelled(amid),
            "targets of one token": plain.labelled(targets(1)),
            "targets as long as the sentences": plain.labelled(targets(10)),
            "a label for each sample": replace(plain.labelled(torch.arange(ROWS)), named=("labels",)),
            "labels beyond the vocabulary": replace(plain.labelled(targets() + VOCABULARY), named=("label",)),
            "ids of the decoder's own": replace(
                plain, columns=plain.columns | {"decoder_input_ids": targets().clamp(min=0)}, named=("decoder_input_ids",)
            ),
        }
        if self.family.longest:
            longest = plain.labelled(targets(self.family.longest))
            beyond = plain.labelled(targets(self.family.longest + 1))
            kinds["targets as long as the positions"] = longest
            kinds["targets longer than the positions"] = replace(beyond, named=("target",))
        if not self.family.hears:
            kinds["Parquet, ragged"] = Ragged(plain.columns, labels=plain.labels)
        return kinds
