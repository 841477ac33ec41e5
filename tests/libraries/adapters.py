"""Adapters of peft: `new + (merged − old)`, where `merged` is what peft itself makes of the adapter's files."""

import itertools
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import peft
import torch
from safetensors.torch import load_file, save_file

from checks import Ask, Check, ExpectedTensors, LibraryRefuses, settled
from families import Image
from models import away_from_defaults, change_config, copy_with, neighbours, save
from program import Crashed
from reference import AUTO
from tensors import carried, stored
from transfers import specification

SEED, SHIFT = 13, 0.02
# Roundings of what peft factors in f32.
OF_FACTORED = 300


@dataclass(frozen=True)
class Adapter:
    """How an adapter is made of a family's `targets`."""

    name: str
    # Which of the family's targets it changes.
    on: tuple = ("attention",)
    config: dict = field(default_factory=dict)
    # Keys of adapter_config.json, changed after it was saved.
    edit: dict = field(default_factory=dict)
    named: tuple = ()
    task: str = "classifier"
    kind: type = peft.LoraConfig
    base: str = "f32"
    saved: str = "f32"
    tied: bool = False
    # Names of modules that the file has instead, in order.
    renamed: list = field(default_factory=list)


def equal(name, on=("attention",), **more):
    config = {key: more.pop(key) for key in list(more) if key not in Adapter.__dataclass_fields__}
    return Adapter(name, on, config, **more)


def named(name, *words, on=("attention",), **more):
    config = {key: more.pop(key) for key in list(more) if key not in Adapter.__dataclass_fields__}
    return Adapter(name, on, config, named=(*words, *config), **more)


SEQ_CLS = {"task_type": "SEQ_CLS"}
ALL = ("attention", "rest")
ADAPTERS = [
    equal("r 4"),
    equal("r 4, alpha 1", r=4, lora_alpha=1),
    equal("r 1", r=1),
    equal("r larger than the layer", r=32),
    equal("alpha 3.5 as alpha/r", r=3, lora_alpha=7),
    equal("use_rslora", use_rslora=True),
    equal("all linear layers of the blocks", on=ALL),
    equal("lora_dropout", lora_dropout=0.5),
    equal("SEQ_CLS, its head saved", **SEQ_CLS),
    equal("SEQ_CLS, all layers", on=ALL, **SEQ_CLS),
    equal("base bf16", base="bf16"),
    equal("base f16", base="f16"),
    equal("adapter bf16", saved="bf16"),
    equal("adapter f16", saved="f16"),
    equal("SEQ_CLS, base and adapter bf16", base="bf16", saved="bf16", **SEQ_CLS),
    equal("init_lora_weights gaussian", init_lora_weights="gaussian"),
    equal("init_lora_weights false", init_lora_weights=False),
    equal("layers_to_transform", layers_to_transform=[1]),
    equal("inference_mode", inference_mode=True),
    named("rank_pattern", on=ALL, rank_pattern={"first": 2}),
    named("alpha_pattern", on=ALL, alpha_pattern={"first": 5}),
    named("rank_pattern and alpha_pattern", on=ALL, rank_pattern={"first": 2}, alpha_pattern={"first": 5}),
    named("alpha_pattern by a layer's path", on=ALL, alpha_pattern={r".*\.1\..*": 3}),
    named("rank_pattern with use_rslora", on=ALL, use_rslora=True, rank_pattern={"first": 2}),
    named("bias all", "bias", bias="all"),
    named("bias lora_only", "bias", bias="lora_only"),
    named("bias all, SEQ_CLS", "bias", bias="all", **SEQ_CLS),
    named("lora_bias", "lora_bias", lora_bias=True),
    named("use_dora", use_dora=True),
    named("use_dora on all layers", on=ALL, use_dora=True),
    *[
        named(f"init_lora_weights {kind}", "init_lora_weights", init_lora_weights=kind)
        for kind in ("pissa", "pissa_niter_4", "olora", "orthogonal")
    ],
    named("on the embedding", "embed", on=("embedding",)),
    named("on the embedding and attention", "embed", on=("embedding", "attention")),
    named("on the head", on=("head",)),
    named("exclude_modules", on=ALL, exclude_modules="second"),
    named("trainable_token_indices", "token_adapter", trainable_token_indices=[4, 7]),
    named("target_modules by a pattern", target_modules="pattern"),
    equal("language: r 4", task="language"),
    equal("language: all layers", on=ALL, task="language"),
    equal("language, tied: r 4", task="language", tied=True),
    equal("language: CAUSAL_LM", task="language", task_type="CAUSAL_LM"),
    named("language: on lm_head", "lm_head", on=("lm_head", "attention"), task="language"),
    named("language: on lm_head alone", "lm_head", on=("lm_head",), task="language"),
    # No case adapts one half of a tied pair: peft's merge then differs from its own forward pass, which is what
    # the program follows (tests/regressions/adapters/merged.rs compares with that).
    named("language: on the embedding", "embed", on=("embedding", "attention"), task="language"),
    named(
        "language: embedding and lm_head saved",
        "modules_to_save",
        modules_to_save=["embedding", "lm_head"],
        task="language",
    ),
    named(
        "language, tied: trainable_token_indices",
        "token_adapter",
        "trainable_token_indices",
        trainable_token_indices=[4, 7],
        task="language",
        tied=True,
    ),
    named("IA3", "peft_type", kind=peft.IA3Config, feedforward_modules=[]),
    named("VeRA", "peft_type", kind=peft.VeraConfig),
    named("AdaLoRA", "peft_type", kind=peft.AdaLoraConfig, total_step=10),
]
OF_GPT2 = [
    equal("fan_in_fan_out true", fan_in_fan_out=True),
    equal("fan_in_fan_out true, all layers", on=ALL, fan_in_fan_out=True),
    named("fan_in_fan_out false in the file", on=ALL, edit={"fan_in_fan_out": False}),
    named("fan_in_fan_out false in the file, square layers", on=("square",), edit={"fan_in_fan_out": False}),
    named(
        "language: fan_in_fan_out with lm_head",
        "lm_head",
        on=("attention", "lm_head"),
        task="language",
        fan_in_fan_out=True,
    ),
]
OF_LLAMA = [named("layer_replication", layer_replication=[[0, 2], [1, 2]])]
# The names of modules before transformers 5.
OLD_VIT = [
    ("vit.layers.", "vit.encoder.layer."),
    ("attention.q_proj", "attention.attention.query"),
    ("attention.v_proj", "attention.attention.value"),
    ("attention.o_proj", "attention.output.dense"),
    ("mlp.fc1", "intermediate.dense"),
    ("mlp.fc2", "output.dense"),
]
OF_VIT = [
    equal("by the names of transformers 4", renamed=OLD_VIT),
    equal("by the names of transformers 4, all layers", on=ALL, renamed=OLD_VIT),
]
OF_OTHERS = [
    named("LoHa", "peft_type", kind=peft.LoHaConfig),
    named("LoKr", "peft_type", kind=peft.LoKrConfig),
    named("OFT", "peft_type", kind=peft.OFTConfig, oft_block_size=4),
    named("fan_in_fan_out true in the file", "fan_in_fan_out", edit={"fan_in_fan_out": True}),
    named("fan_in_fan_out true in the file, all layers", "fan_in_fan_out", on=ALL, edit={"fan_in_fan_out": True}),
]


class Cases:
    """Adapters of one family."""

    def __init__(self, family, program, folder):
        self.family, self.program, self.folder = family, program, folder
        self.number = itertools.count()
        folder.mkdir()
        self.classifies = getattr(family, "classifier", True)
        self.targets = {"lm_head": ["lm_head"], "square": ["attn.c_proj"]} | family.targets
        self.targets["head"] = [family.targets["head"]]

    def all(self):
        more = OF_GPT2 if self.family.name == "gpt2" else OF_OTHERS
        if self.family.targets["embedding"] == ["embed_tokens"]:
            more = [*more, *OF_LLAMA]
        if self.family.name == "vit":
            more = [*more, *OF_VIT]
        for adapter in [*ADAPTERS, *more]:
            if adapter.task == "language" and not self.family.language:
                continue
            if adapter.task == "classifier" and not self.classifies:
                continue
            if "trainable_token_indices" in adapter.config and isinstance(self.family, Image):
                continue
            yield self.check(adapter)

    def place(self):
        return self.folder / f"{next(self.number):03}"

    def check(self, adapter):
        case = f"adapter {adapter.name}"
        try:
            old = self.base(adapter)
            folder = self.made(adapter, old)
        except Exception as error:
            # Not every kind of adapter can be put on every family.
            said = Crashed(f"the library cannot make it: {error}")
            return Check(self.family.name, case, "transfer", LibraryRefuses(""), lambda: said)
        state = stored(old)
        new = copy_with(old, self.place(), neighbours(state, 3, SHIFT))
        try:
            tuned = merged(self.auto(adapter), old, folder, adapter)
            roundings = OF_FACTORED if is_factored(adapter) else 4
            theirs = ExpectedTensors(carried(state, tuned, stored(new)), roundings)
        except Exception as error:
            theirs = LibraryRefuses(f"{type(error).__name__}: {error}")
        theirs, words = settled(theirs, adapter.named, "")
        rename(folder / "adapter_model.safetensors", adapter.renamed)
        spec, file = specification(old, folder, new, self.folder / "out"), self.place().with_suffix(".json")
        return Check(self.family.name, case, "transfer", theirs, Ask(self.program, "transfer", spec, file), words)

    def auto(self, adapter):
        """The library's class for the adapter's task."""
        return AUTO["image" if isinstance(self.family, Image) else adapter.task]

    def base(self, adapter):
        torch.manual_seed(SEED)
        given = {"tie_word_embeddings": adapter.tied} if self.family.language else {}
        model = self.auto(adapter).from_config(self.family.configured(**given))
        return save(away_from_defaults(model, SEED), self.place(), dtype=adapter.base)

    def made(self, adapter, old):
        """The folder of an adapter after training, as peft saves it."""
        torch.manual_seed(SEED)
        model = peft.get_peft_model(self.auto(adapter).from_pretrained(old, dtype=torch.float32), self.config(adapter))
        generator = torch.Generator().manual_seed(SEED)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
        if adapter.saved == "bf16":
            model.to(torch.bfloat16)
        if adapter.saved == "f16":
            model.to(torch.float16)
        folder = self.place()
        model.save_pretrained(folder)
        change_config(folder, adapter.edit, "adapter_config.json")
        return folder

    def config(self, adapter):
        """Names of modules are the family's."""
        targets = [name for part in adapter.on for name in self.targets[part]]
        config = {"target_modules": targets} | adapter.config
        first, second = targets[0], targets[-1]
        for key in ("rank_pattern", "alpha_pattern"):
            if "first" in config.get(key, {}):
                config[key] = {first: config[key]["first"]}
        if config.get("exclude_modules") == "second":
            config["exclude_modules"] = [second]
        if config["target_modules"] == "pattern":
            config["target_modules"] = rf".*\.({'|'.join(targets)})"
        if "modules_to_save" in config:
            config["modules_to_save"] = [name for part in config["modules_to_save"] for name in self.targets[part]]
        return adapter.kind(**config)


def rename(file, pairs):
    """Other names in an adapter's file."""
    if not pairs:
        return
    tensors = {}
    for name, tensor in load_file(file).items():
        for now, then in pairs:
            name = name.replace(now, then)
        tensors[name] = tensor
    save_file(tensors, file, metadata={"format": "pt"})


def is_factored(adapter):
    """Whether peft factors the base's own weights, which it does in f32 alone."""
    return str(adapter.config.get("init_lora_weights")).startswith(("pissa", "olora"))


def merged(auto, old, folder, adapter):
    """The tensors of the base with the adapter merged into it, in f64, as the library would save them."""
    dtype = torch.float32 if is_factored(adapter) else torch.float64
    base = auto.from_pretrained(old, dtype=dtype)
    model = peft.PeftModel.from_pretrained(base, folder).double().merge_and_unload()
    with tempfile.TemporaryDirectory() as place:
        model.save_pretrained(place)
        return stored(Path(place))
