"""The families: a line each, which is all that a new one needs."""

from dataclasses import dataclass, field

import transformers as t

import settings
import settings_decoders

HIDDEN, HEADS, LAYERS, INNER, VOCABULARY, POSITIONS = 16, 4, 2, 24, 40, 16


@dataclass(frozen=True)
class Text:
    """A Hugging Face family of token ids, with the sizes of a small one under its own names."""

    name: str
    config: type
    sizes: dict
    settings: list
    # How many token types its embeddings have; `None` where it reads none.
    types: int | None = None
    # Whether it is also a language model, and its output may be tied to the embedding.
    language: bool = False
    # Whether it also tells a class of every token.
    tokens: bool = True
    # Modules that adapters are put on: attention, the rest of a block, embedding, head.
    targets: dict = field(default_factory=dict)
    # What its position table has more than positions.
    offset: int = 0

    @property
    def positions(self):
        return POSITIONS

    def configured(self, **given):
        """A configuration of the library's class."""
        return self.config(**(self.sizes | {"num_labels": 3} | given))


@dataclass(frozen=True)
class Image:
    """A Hugging Face family of images."""

    name: str
    config: type
    sizes: dict
    settings: list
    targets: dict
    language: bool = False

    def configured(self, **given):
        return self.config(**(self.sizes | {"num_labels": 3} | given))


PLAIN = {
    "hidden_size": HIDDEN,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": INNER,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": POSITIONS,
}
DECODER = PLAIN | {"num_key_value_heads": 2, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
DISTILBERT = {
    "dim": HIDDEN,
    "n_layers": LAYERS,
    "n_heads": HEADS,
    "hidden_dim": INNER,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": POSITIONS,
}
GPT2 = {
    "n_embd": HIDDEN,
    "n_layer": LAYERS,
    "n_head": HEADS,
    "vocab_size": VOCABULARY,
    "n_positions": POSITIONS,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
ROBERTA = PLAIN | {"max_position_embeddings": POSITIONS + 2, "type_vocab_size": 1}

BERT_TARGETS = {
    "attention": ["query", "value"],
    "rest": ["dense"],
    "embedding": ["word_embeddings"],
    "head": "classifier",
}
LLAMA_TARGETS = {
    "attention": ["q_proj", "v_proj"],
    "rest": ["o_proj", "gate_proj", "up_proj", "down_proj"],
    "embedding": ["embed_tokens"],
    "head": "score",
}

TEXT = [
    Text("bert", t.BertConfig, PLAIN, settings.BERT, types=2, targets=BERT_TARGETS),
    Text(
        "roberta",
        t.RobertaConfig,
        ROBERTA,
        settings.ROBERTA,
        types=1,
        targets=BERT_TARGETS | {"head": "out_proj"},
        offset=2,
    ),
    Text(
        "xlm-roberta",
        t.XLMRobertaConfig,
        ROBERTA,
        settings.ROBERTA,
        types=1,
        targets=BERT_TARGETS | {"head": "out_proj"},
        offset=2,
    ),
    Text(
        "camembert",
        t.CamembertConfig,
        ROBERTA,
        settings.ROBERTA,
        types=1,
        targets=BERT_TARGETS | {"head": "out_proj"},
        offset=2,
    ),
    Text(
        "distilbert",
        t.DistilBertConfig,
        DISTILBERT,
        settings.DISTILBERT,
        targets={
            "attention": ["q_lin", "v_lin"],
            "rest": ["lin1", "lin2"],
            "embedding": ["word_embeddings"],
            "head": "classifier",
        },
    ),
    Text(
        "gpt2",
        t.GPT2Config,
        GPT2,
        settings_decoders.GPT2,
        language=True,
        tokens=False,
        targets={"attention": ["c_attn"], "rest": ["c_proj", "c_fc"], "embedding": ["wte"], "head": "score"},
    ),
    Text("llama", t.LlamaConfig, DECODER, settings_decoders.LLAMA, language=True, targets=LLAMA_TARGETS),
    Text("mistral", t.MistralConfig, DECODER, settings_decoders.MISTRAL, language=True, targets=LLAMA_TARGETS),
    Text("qwen2", t.Qwen2Config, DECODER, settings_decoders.QWEN2, language=True, targets=LLAMA_TARGETS),
]
VIT = {
    "hidden_size": HIDDEN,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": INNER,
    "image_size": 8,
    "patch_size": 4,
}
IMAGE = [
    Image(
        "vit",
        t.ViTConfig,
        VIT,
        settings.VIT,
        targets={
            "attention": ["q_proj", "v_proj"],
            "rest": ["o_proj", "fc1", "fc2"],
            "embedding": ["projection"],
            "head": "classifier",
        },
    ),
]
