"""The families: a line each, which is all that a new one needs."""

import copy
from dataclasses import dataclass, field

import transformers as t

import settings
import settings_decoders
import settings_encoders
import settings_pictures

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
    # Whether it also tells a class of every token, and that is read.
    tokens: bool = True
    # Modules that adapters are put on: attention, the rest of a block, embedding, head.
    targets: dict = field(default_factory=dict)
    # What its position table has more than positions.
    offset: int = 0
    # Whether the library has a classifier of it.
    classifier: bool = True
    # Whether the network of its body alone is read, not its tensors' names alone.
    body: bool = True
    # The id that every sentence must end in, where its classifier looks for it.
    end: int | None = None

    @property
    def positions(self):
        return POSITIONS

    def configured(self, **given):
        """A configuration of the library's class, which changes what it is given."""
        return self.config(**copy.deepcopy(self.sizes | {"num_labels": 3} | given))


@dataclass(frozen=True)
class Image:
    """A Hugging Face family of images."""

    name: str
    config: type
    sizes: dict
    settings: list
    targets: dict
    language: bool = False
    body: bool = True
    # Of the images that the small network is asked.
    side: int = 8

    def configured(self, **given):
        return self.config(**copy.deepcopy(self.sizes | {"num_labels": 3} | given))


PLAIN = {
    "hidden_size": HIDDEN,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": INNER,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": POSITIONS,
}
MARKED = PLAIN | {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
DECODER = MARKED | {"num_key_value_heads": 2}
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
HEAD = {"head_dim": 8}
WINDOW = {"sliding_window": 4}
# Of two layers the first has a window.
GLOBAL_LAST = {"layer_types": ["sliding_attention", "full_attention"]}
GRANITE = {
    "embedding_multiplier": 3.0,
    "residual_multiplier": 0.5,
    "attention_multiplier": 0.25,
    "logits_scaling": 2.0,
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
FUSED_MLP = {"rest": ["o_proj", "gate_up_proj", "down_proj"]}
# A quarter of a head, the default, is whole pairs of channels.
NEOX = MARKED | {"num_attention_heads": 2} | {"rope_parameters": {"rope_type": "default", "rope_theta": 100.0, "partial_rotary_factor": 0.5}}
NEOX_TARGETS = {
    "attention": ["query_key_value"],
    "rest": ["dense", "dense_h_to_4h", "dense_4h_to_h"],
    "embedding": ["embed_in"],
    "head": "score",
}
MODERNBERT = MARKED | {"cls_token_id": 1, "sep_token_id": 2}
MODERNBERT |= {"local_attention": 4, "layer_types": ["full_attention", "sliding_attention"]}
MODERNBERT_TARGETS = {
    "attention": ["Wqkv"],
    "rest": ["Wo", "Wi"],
    "embedding": ["tok_embeddings"],
    "head": "classifier",
}
# Experts are no modules that adapters are put on.
EXPERT_TARGETS = LLAMA_TARGETS | {"rest": ["o_proj"]}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2}
LOCAL_EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}
PHI_TARGETS = LLAMA_TARGETS | FUSED_MLP | {"attention": ["qkv_proj"]}

NARROW = PLAIN | {"embedding_size": 8}
ALBERT = NARROW | {"num_hidden_layers": 4, "num_hidden_groups": 2}
MPNET = PLAIN | {"max_position_embeddings": POSITIONS + 2}
DEBERTA = PLAIN | {
    "relative_attention": True,
    "pos_att_type": ["p2c", "c2p"],
    "share_att_key": True,
    "position_buckets": 6,
    "norm_rel_ebd": "layer_norm",
    "position_biased_input": False,
    "type_vocab_size": 2,
}
T5 = {
    "d_model": HIDDEN,
    "d_kv": 4,
    "d_ff": INNER,
    "num_layers": LAYERS,
    "num_heads": HEADS,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 9,
    "vocab_size": VOCABULARY,
    "decoder_start_token_id": 0,
}
T5_TARGETS = {
    "attention": ["q", "v"],
    "rest": ["k", "o", "wo"],
    "embedding": ["shared"],
    "head": "out_proj",
}
SEED_OSS = DECODER | {"head_dim": 8}
DEBERTA_TARGETS = BERT_TARGETS | {"attention": ["query_proj", "value_proj"]}

# The library has no classifier of tokens of it.
NO_TOKENS = {"tokens": False}
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
        "albert",
        t.AlbertConfig,
        ALBERT,
        settings_encoders.ALBERT,
        types=2,
        targets=BERT_TARGETS | {"rest": ["ffn", "ffn_output"]},
    ),
    Text("deberta-v2", t.DebertaV2Config, DEBERTA, settings_encoders.DEBERTA, types=2, targets=DEBERTA_TARGETS),
    Text("electra", t.ElectraConfig, NARROW, settings_encoders.ELECTRA, types=2, targets=BERT_TARGETS | {"head": "out_proj"}),
    Text(
        "mpnet",
        t.MPNetConfig,
        MPNET,
        settings_encoders.MPNET,
        targets=BERT_TARGETS | {"attention": ["q", "v"], "head": "out_proj"},
        offset=2,
    ),
    Text("t5", t.T5Config, T5, settings_encoders.T5, targets=T5_TARGETS, body=False, end=1),
    Text("mt5", t.MT5Config, T5, settings_encoders.T5, targets=T5_TARGETS, body=False, end=1),
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
    Text("seed_oss", t.SeedOssConfig, SEED_OSS, settings_decoders.SEED_OSS, language=True, targets=LLAMA_TARGETS),
    Text("mistral", t.MistralConfig, DECODER, settings_decoders.MISTRAL, language=True, targets=LLAMA_TARGETS),
    Text("qwen2", t.Qwen2Config, DECODER, settings_decoders.QWEN2, language=True, targets=LLAMA_TARGETS),
    Text("gpt_neox", t.GPTNeoXConfig, NEOX, settings_decoders.GPT_NEOX, language=True, targets=NEOX_TARGETS),
    Text("modernbert", t.ModernBertConfig, MODERNBERT, settings.MODERNBERT, targets=MODERNBERT_TARGETS),
    *[
        Text(name, config, DECODER | sizes, settings, language=True, **({"targets": LLAMA_TARGETS} | more))
        for name, config, sizes, settings, more in [
            ("qwen3", t.Qwen3Config, HEAD, settings_decoders.QWEN3, {}),
            ("smollm3", t.SmolLM3Config, {"no_rope_layer_interval": 2}, settings_decoders.SMOLLM3, {}),
            ("olmo2", t.Olmo2Config, {}, settings_decoders.OLMO2, NO_TOKENS),
            ("olmo3", t.Olmo3Config, GLOBAL_LAST | WINDOW, settings_decoders.OLMO3, NO_TOKENS),
            ("gemma", t.GemmaConfig, HEAD, settings_decoders.GEMMA, {}),
            ("gemma2", t.Gemma2Config, HEAD | WINDOW, settings_decoders.GEMMA2, {}),
            ("gemma3_text", t.Gemma3TextConfig, HEAD | GLOBAL_LAST | WINDOW, settings_decoders.GEMMA3, NO_TOKENS),
            (
                "qwen3_moe",
                t.Qwen3MoeConfig,
                HEAD | EXPERTS | {"moe_intermediate_size": 12},
                settings_decoders.QWEN3_MOE,
                {"targets": EXPERT_TARGETS},
            ),
            (
                "gpt_oss",
                t.GptOssConfig,
                HEAD | GLOBAL_LAST | WINDOW | LOCAL_EXPERTS,
                settings_decoders.GPT_OSS,
                {"targets": EXPERT_TARGETS},
            ),
            # Without a head_dim the library computes no scaled rotary positions of it.
            (
                "mixtral",
                t.MixtralConfig,
                LOCAL_EXPERTS | {"head_dim": 4},
                settings_decoders.MIXTRAL,
                {"targets": EXPERT_TARGETS},
            ),
            (
                "olmoe",
                t.OlmoeConfig,
                EXPERTS,
                settings_decoders.OLMOE,
                {"targets": EXPERT_TARGETS, "classifier": False, "tokens": False},
            ),
            ("phi3", t.Phi3Config, {}, settings_decoders.PHI3, {"targets": PHI_TARGETS}),
            ("granite", t.GraniteConfig, GRANITE, settings_decoders.GRANITE, NO_TOKENS | {"classifier": False}),
            ("glm4", t.Glm4Config, HEAD, settings_decoders.GLM4, {"targets": LLAMA_TARGETS | FUSED_MLP}),
        ]
    ],
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
STAGES = {"hidden_sizes": [8, 12], "depths": [1, 2]}
EFFICIENT = {
    "width_coefficient": 0.1,
    "depth_coefficient": 1.2,
    "hidden_dim": 128,
    "kernel_sizes": [3, 5, 3],
    "in_channels": [32, 16, 24],
    "out_channels": [16, 24, 40],
    "strides": [1, 2, 2],
    "num_block_repeats": [1, 2, 1],
    "expand_ratios": [1, 6, 2],
}
MOBILE = {"depth_multiplier": 0.1, "finegrained_output": False}
TOWER = VIT
TOWERS = {
    "vision_config": TOWER,
    "text_config": PLAIN | {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0},
}
DINO = VIT | {"mlp_ratio": 2}
SWIN = {"image_size": 16, "patch_size": 2, "embed_dim": 8, "depths": [2, 2], "num_heads": [2, 4], "window_size": 4}
# Networks of images on which no adapters are tried.
PICTURES = [
    Image("resnet", t.ResNetConfig, {"embedding_size": 8} | STAGES, settings_pictures.RESNET, {}, side=40),
    Image("convnext", t.ConvNextConfig, {"num_stages": 2} | STAGES, settings_pictures.CONVNEXT, {}, side=24),
    Image("convnextv2", t.ConvNextV2Config, {"num_stages": 2} | STAGES, settings_pictures.CONVNEXT, {}, side=24),
    Image("efficientnet", t.EfficientNetConfig, EFFICIENT, settings_pictures.EFFICIENTNET, {}, side=33),
    Image("mobilenet_v2", t.MobileNetV2Config, MOBILE, settings_pictures.MOBILENET_V2, {}, side=33),
    Image("dinov2", t.Dinov2Config, DINO, settings_pictures.DINOV2, {}),
    Image("dinov2_with_registers", t.Dinov2WithRegistersConfig, DINO, settings_pictures.DINOV2, {}),
    Image("clip", t.CLIPConfig, TOWERS, settings_pictures.towers(TOWER), {}),
    Image("siglip", t.SiglipConfig, TOWERS, settings_pictures.towers(TOWER), {}),
    Image("swin", t.SwinConfig, SWIN, settings_pictures.SWIN, {}, side=16),
]
