"""Settings of configurations that real checkpoints have, by family.

Each must give the library's numbers, or be refused by the name of a key: the setting's own keys, unless it
says other words. `EQUAL` are those that change nothing, or that every reader of the family knows.
"""

from dataclasses import dataclass, field

from models import ABSENT


@dataclass(frozen=True)
class Setting:
    name: str
    # Arguments of the configuration class.
    config: dict = field(default_factory=dict)
    # Keys of config.json, put there after the model was saved.
    edit: dict = field(default_factory=dict)
    # Words of a refusal; none where it must not be refused.
    named: tuple = ()
    # Why the program must refuse, where the library computes something else than a classifier's loss.
    refuse: str = ""
    # Length of the sentences.
    length: int | None = None
    # Which models it is for: "classifier", "language" or both.
    tasks: tuple = ("classifier", "language")


def equal(name, config=None, edit=None, **more):
    """Must give the library's numbers."""
    return Setting(name, config or {}, edit or {}, **more)


def named(name, config=None, edit=None, *, words=(), **more):
    """The library's numbers, or a refusal by name."""
    keys = tuple(words) or tuple((config or {}) | (edit or {}))
    return Setting(name, config or {}, edit or {}, keys, **more)


def refused(name, why, config=None, edit=None, *, words=(), **more):
    """Must be refused, by name."""
    keys = tuple(words) or tuple((config or {}) | (edit or {}))
    return Setting(name, config or {}, edit or {}, keys, why, **more)


ACTIVATIONS = (
    "gelu",
    "gelu_new",
    "gelu_pytorch_tanh",
    "gelu_fast",
    "gelu_accurate",
    "gelu_python",
    "gelu_python_tanh",
    "gelu_10",
    "quick_gelu",
    "relu",
    "relu2",
    "relu6",
    "silu",
    "swish",
    "mish",
    "tanh",
    "sigmoid",
    "linear",
    "leaky_relu",
    "hardswish",
)


def activations(key):
    return [named(f"{key} {name}", {key: name}) for name in ACTIVATIONS]


CLASSIFIER = ("classifier",)
LANGUAGE = ("language",)
LABELS = {"id2label": {0: "bad", 1: "fair", 2: "good"}, "label2id": {"bad": 0, "fair": 1, "good": 2}}
OTHER_HEADS = ("ForMaskedLM", "ForTokenClassification", "ForQuestionAnswering", "ForMultipleChoice", "Model")
COMMON = [
    equal("class names", LABELS, tasks=CLASSIFIER),
    equal(
        "problem_type single_label_classification", {"problem_type": "single_label_classification"}, tasks=CLASSIFIER
    ),
    refused("problem_type regression", "a regression", {"problem_type": "regression"}, tasks=CLASSIFIER),
    refused(
        "problem_type multi_label_classification",
        "many labels",
        {"problem_type": "multi_label_classification"},
        tasks=CLASSIFIER,
    ),
    refused(
        "num_labels 1",
        "a regression",
        {"num_labels": 1},
        words=("num_labels", "id2label", "problem_type", "one label", "regression"),
        tasks=CLASSIFIER,
    ),
    equal("no dtype", {}, {"dtype": ABSENT}),
    equal("torch_dtype, as older versions write it", {}, {"dtype": ABSENT, "torch_dtype": "float32"}),
    equal("no architectures", {}, {"architectures": ABSENT}, tasks=CLASSIFIER),
    named("quantization_config", {}, {"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}}),
    equal("output_attentions and output_hidden_states", {}, {"output_hidden_states": True, "output_attentions": True}),
    equal("use_cache false", {"use_cache": False}),
    equal("chunk_size_feed_forward 2", {"chunk_size_feed_forward": 2}),
    named("is_encoder_decoder", {}, {"is_encoder_decoder": True}),
    equal(
        "a user's own keys",
        {},
        {"my_project": {"run": 7}, "_name_or_path": "somebody/model", "transformers_version": "4.30.0"},
    ),
]


def other_heads(prefix, suffixes):
    return [
        refused(
            f"architectures {prefix}{suffix}",
            "another head",
            {},
            {"architectures": [prefix + suffix]},
            tasks=CLASSIFIER,
        )
        for suffix in suffixes
    ]


def left_out(*keys):
    """Each key that a file may lack, since the library has a default."""
    return [named(f"no {key}", {}, {key: ABSENT}) for key in keys]


BERT_LIKE = [
    *COMMON,
    *activations("hidden_act"),
    equal("dropout", {"hidden_dropout_prob": 0.5, "attention_probs_dropout_prob": 0.5, "classifier_dropout": 0.5}),
    equal("layer_norm_eps 1e-3", {"layer_norm_eps": 1e-3}),
    equal("layer_norm_eps 1e-5", {"layer_norm_eps": 1e-5}),
    equal("one head", {"num_attention_heads": 1}),
    equal("one layer", {"num_hidden_layers": 1}),
    equal("odd inner width", {"intermediate_size": 17}),
    named("is_decoder", {"is_decoder": True}),
    named("is_decoder and add_cross_attention", {"is_decoder": True, "add_cross_attention": True}),
    named("position_embedding_type relative_key", {}, {"position_embedding_type": "relative_key"}),
    equal("position_embedding_type absolute", {}, {"position_embedding_type": "absolute"}),
    *left_out("hidden_act", "layer_norm_eps", "num_attention_heads", "pad_token_id"),
    named("num_hidden_layers says fewer than the file has", {}, {"num_hidden_layers": 1}),
]
BERT = [
    *BERT_LIKE,
    *other_heads("Bert", OTHER_HEADS + ("ForPreTraining", "LMHeadModel", "ForNextSentencePrediction")),
    equal("pad_token_id 3", {"pad_token_id": 3}),
    named("four token types", {"type_vocab_size": 4}),
]
ROBERTA = [
    *BERT_LIKE,
    *other_heads("Roberta", OTHER_HEADS),
    equal("pad_token_id 0", {"pad_token_id": 0}),
    named("pad_token_id null", {"pad_token_id": None}),
    named("two token types", {"type_vocab_size": 2}),
]
DISTILBERT = [
    *COMMON,
    *activations("activation"),
    *other_heads("DistilBert", OTHER_HEADS),
    equal("dropout", {"dropout": 0.5, "attention_dropout": 0.5, "seq_classif_dropout": 0.5, "qa_dropout": 0.5}),
    equal("sinusoidal_pos_embds", {"sinusoidal_pos_embds": True}),
    equal("tie_weights_", {"tie_weights_": False}),
    equal("one head", {"n_heads": 1}),
    *left_out("activation", "n_heads", "pad_token_id"),
    named(
        "num_attention_heads for n_heads",
        {},
        {"n_heads": ABSENT, "num_attention_heads": 2},
        words=("n_heads", "num_attention_heads"),
    ),
]
CAUSAL = [
    equal("pad_token_id is the end", {"pad_token_id": 2}),
    equal("pad_token_id 3", {"pad_token_id": 3}),
    named("pad_token_id null", {"pad_token_id": None}),
    named("pad_token_id -1", {"pad_token_id": -1}),
    named("no pad_token_id", {}, {"pad_token_id": ABSENT}),
    equal("several ends", {"eos_token_id": [1, 2]}),
]
GPT2 = [
    *COMMON,
    *CAUSAL,
    *activations("activation_function"),
    equal("dropout", {"attn_pdrop": 0.5, "embd_pdrop": 0.5, "resid_pdrop": 0.5}),
    equal("summary", {"summary_type": "mean", "summary_activation": "tanh", "summary_first_dropout": 0.5}),
    equal("layer_norm_epsilon 1e-3", {"layer_norm_epsilon": 1e-3}),
    equal("n_inner 40", {"n_inner": 40}),
    equal("one head", {"n_head": 1}),
    equal("n_ctx, as older versions write it", {}, {"n_ctx": 16}),
    named("scale_attn_weights false", {"scale_attn_weights": False}),
    named("scale_attn_by_inverse_layer_idx", {"scale_attn_by_inverse_layer_idx": True}),
    named("reorder_and_upcast_attn", {"reorder_and_upcast_attn": True}),
    named(
        "reorder_and_upcast_attn and scale_attn_by_inverse_layer_idx",
        {"reorder_and_upcast_attn": True, "scale_attn_by_inverse_layer_idx": True},
    ),
    named("add_cross_attention", {"add_cross_attention": True}, words=("add_cross_attention", "crossattention")),
    named(
        "num_attention_heads for n_head",
        {},
        {"n_head": ABSENT, "num_attention_heads": 2},
        words=("n_head", "num_attention_heads"),
    ),
    named("n_head and num_attention_heads differ", {}, {"num_attention_heads": 2}),
    *left_out("activation_function", "layer_norm_epsilon", "n_head", "n_inner", "scale_attn_weights"),
]
THETA = {"rope_theta": 10000.0}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8,
}
ROPE = ("rope", "max_position_embeddings")
# The key of rotary settings since transformers 5.
NEW_ROPE = "rope_parameters"


def rope(name, parameters, **more):
    return named(name, {NEW_ROPE: {"rope_theta": 100.0} | parameters}, words=ROPE, **more)


def old_rope(name, edit, **more):
    """`rope_scaling` and `rope_theta`, as files of transformers 4 have them."""
    return named(name, {}, {NEW_ROPE: ABSENT} | edit, words=ROPE, **more)


ROTARY = [
    *COMMON,
    *CAUSAL,
    *activations("hidden_act"),
    equal("rope_theta 500000", {NEW_ROPE: {"rope_type": "default", "rope_theta": 500000.0}}),
    rope("rope linear", {"rope_type": "linear", "factor": 4.0}),
    rope("rope dynamic", {"rope_type": "dynamic", "factor": 2.0}),
    rope("rope dynamic beyond the positions", {"rope_type": "dynamic", "factor": 2.0}, length=24),
    rope("rope llama3", LLAMA3),
    rope("rope yarn", {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8}),
    rope(
        "rope yarn with its own attention_factor",
        {
            "rope_type": "yarn",
            "factor": 4.0,
            "attention_factor": 0.7,
            "beta_fast": 16,
            "beta_slow": 2,
            "original_max_position_embeddings": 8,
        },
    ),
    rope(
        "rope longrope",
        {
            "rope_type": "longrope",
            "factor": 2.0,
            "short_factor": [1.0, 1.1],
            "long_factor": [2.0, 3.0],
            "original_max_position_embeddings": 8,
        },
    ),
    rope("rope proportional", {"rope_type": "proportional"}),
    rope("partial_rotary_factor within rope_parameters", {"rope_type": "default", "partial_rotary_factor": 0.5}),
    old_rope("rope_theta, as older versions write it", {"rope_theta": 100.0}),
    old_rope("rope_scaling null", {"rope_theta": 100.0, "rope_scaling": None}),
    old_rope("rope_scaling type linear", {"rope_theta": 100.0, "rope_scaling": {"type": "linear", "factor": 4.0}}),
    old_rope(
        "rope_scaling rope_type linear", {"rope_theta": 100.0, "rope_scaling": {"rope_type": "linear", "factor": 4.0}}
    ),
    old_rope("rope_scaling llama3", {"rope_theta": 100.0, "rope_scaling": LLAMA3}),
    old_rope("rope_scaling dynamic", {"rope_theta": 100.0, "rope_scaling": {"type": "dynamic", "factor": 2.0}}),
    old_rope(
        "rope_scaling yarn",
        {"rope_theta": 100.0, "rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8}},
    ),
    old_rope("no rotary keys", {}),
    named("both rope_scaling and rope_parameters", {}, {"rope_scaling": {"type": "linear", "factor": 4.0}}, words=ROPE),
    named("partial_rotary_factor beside rope_parameters", {}, {"partial_rotary_factor": 0.5}),
    named("rope_theta beside rope_parameters", {}, {"rope_theta": 50.0}, words=ROPE),
    equal("rms_norm_eps 1e-3", {"rms_norm_eps": 1e-3}),
    equal("rms_norm_eps 1e-5", {"rms_norm_eps": 1e-5}),
    equal("attention_dropout", {"attention_dropout": 0.5}),
    equal("as many key heads as heads", {"num_key_value_heads": 4}),
    equal("one key head", {"num_key_value_heads": 1}),
    equal("head_dim as derived", {"head_dim": 4}),
    named("head_dim larger", {"head_dim": 8}),
    named("head_dim smaller", {"head_dim": 2}),
    equal("tied", {"tie_word_embeddings": True}),
    equal("not tied", {"tie_word_embeddings": False}),
    named("no tie_word_embeddings", {"tie_word_embeddings": False}, {"tie_word_embeddings": ABSENT}),
    named("longer than the positions", {}, words=("max_position_embeddings", "wrong_input_shape"), length=24),
    *left_out("hidden_act", "rms_norm_eps", "num_key_value_heads", "head_dim", "num_attention_heads"),
]
LLAMA = [
    *ROTARY,
    equal("num_key_value_heads null", {"num_key_value_heads": None}),
    equal("attention_bias", {"attention_bias": True}),
    equal("mlp_bias", {"mlp_bias": True}),
    equal("attention_bias and mlp_bias", {"attention_bias": True, "mlp_bias": True}),
    named("pretraining_tp 2", {}, {"pretraining_tp": 2}),
    named("a sliding_window, which the library does not read", {}, {"sliding_window": 4}),
    named("attention_bias said, not in the file", {}, {"attention_bias": True}),
]
MISTRAL = [
    *ROTARY,
    equal("sliding_window null", {"sliding_window": None}),
    equal("sliding_window as long as the sentences", {"sliding_window": 10}),
    named("sliding_window 4", {"sliding_window": 4}, words=("sliding_window", "wrong_input_shape")),
    named("no sliding_window", {}, {"sliding_window": ABSENT}),
]
QWEN2 = [
    *ROTARY,
    equal("a window that is not used", {"use_sliding_window": False, "sliding_window": 4}),
    named(
        "a window in every layer",
        {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 0},
        words=("sliding_window", "layer_types", "wrong_input_shape"),
    ),
    named(
        "a window in the upper layer",
        {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1},
        words=("sliding_window", "max_window_layers", "layer_types", "wrong_input_shape"),
    ),
    named(
        "a window above all layers",
        {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 2},
        words=("sliding_window", "max_window_layers", "layer_types", "wrong_input_shape"),
    ),
    named(
        "layer_types with a window",
        {},
        {"layer_types": ["full_attention", "sliding_attention"], "sliding_window": 4, "use_sliding_window": True},
        words=("sliding_window", "layer_types", "wrong_input_shape"),
    ),
    named(
        "layer_types with a window that is not used",
        {},
        {"layer_types": ["full_attention", "sliding_attention"], "sliding_window": 4, "use_sliding_window": False},
        words=("sliding_window", "layer_types", "wrong_input_shape"),
    ),
    named("use_mrope", {}, {"use_mrope": True}),
]
VIT = [
    *[s for s in COMMON if s.name not in ("use_cache false", "is_encoder_decoder", "chunk_size_feed_forward 2")],
    *activations("hidden_act"),
    equal("dropout", {"hidden_dropout_prob": 0.5, "attention_probs_dropout_prob": 0.5}),
    equal("layer_norm_eps 1e-3", {"layer_norm_eps": 1e-3}),
    equal("qkv_bias false", {"qkv_bias": False}),
    equal("one head", {"num_attention_heads": 1}),
    equal("encoder_stride", {"encoder_stride": 4}),
    named("head_dim", {"head_dim": 8}),
    equal("pooler", {"pooler_act": "relu", "pooler_output_size": 8}),
    named("an image that is not square", {"image_size": (8, 12)}),
    named("patches that are not square", {"patch_size": (4, 2)}),
    equal("one channel", {"num_channels": 1}),
    *left_out("hidden_act", "layer_norm_eps", "num_attention_heads", "qkv_bias", "num_channels"),
    refused(
        "architectures ViTForMaskedImageModeling", "another head", {}, {"architectures": ["ViTForMaskedImageModeling"]}
    ),
    refused("architectures ViTModel", "no head", {}, {"architectures": ["ViTModel"]}),
]
