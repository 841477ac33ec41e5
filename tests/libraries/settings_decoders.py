"""Settings of the families that predict tokens; see `settings`."""

from models import ABSENT
from settings import COMMON, activations, equal, left_out, named

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
