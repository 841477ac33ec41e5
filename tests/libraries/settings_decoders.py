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


PLAIN = [
    *COMMON,
    *CAUSAL,
    equal("rms_norm_eps 1e-3", {"rms_norm_eps": 1e-3}),
    equal("rms_norm_eps 1e-5", {"rms_norm_eps": 1e-5}),
    equal("attention_dropout", {"attention_dropout": 0.5}),
    equal("as many key heads as heads", {"num_key_value_heads": 4}),
    equal("one key head", {"num_key_value_heads": 1}),
    equal("tied", {"tie_word_embeddings": True}),
    equal("not tied", {"tie_word_embeddings": False}),
    # Where the library then ties them, the file's own output matrix contradicts it.
    named(
        "no tie_word_embeddings",
        {"tie_word_embeddings": False},
        {"tie_word_embeddings": ABSENT},
        words=("lm_head", "tie_word_embeddings"),
    ),
    # Where the library then takes them for two, the output matrix is missing.
    named(
        "no tie_word_embeddings, tied",
        {"tie_word_embeddings": True},
        {"tie_word_embeddings": ABSENT},
        words=("lm_head", "tie_word_embeddings"),
    ),
    named("longer than the positions", {}, words=("max_position_embeddings", "wrong_input_shape"), length=24),
    *left_out("rms_norm_eps", "num_key_value_heads", "num_attention_heads"),
]
HEAD_DIM = [
    equal("head_dim as derived", {"head_dim": 4}),
    named("head_dim larger", {"head_dim": 8}),
    named("head_dim smaller", {"head_dim": 2}, words=("head_dim", "partial_rotary_factor")),
    named("head_dim that the tensors contradict", {"head_dim": 4}, {"head_dim": 2}),
    *left_out("head_dim"),
]
HIDDEN_ACT = [*activations("hidden_act"), *left_out("hidden_act")]
HIDDEN_ACTIVATION = [*activations("hidden_activation"), *left_out("hidden_activation")]
ROPES = [
    equal("rope_theta 500000", {NEW_ROPE: {"rope_type": "default", "rope_theta": 500000.0}}),
    rope("rope linear", {"rope_type": "linear", "factor": 4.0}),
    rope("rope dynamic", {"rope_type": "dynamic", "factor": 2.0}),
    named(
        "rope dynamic beyond the positions",
        {NEW_ROPE: {"rope_theta": 100.0, "rope_type": "dynamic", "factor": 2.0}},
        words=("wrong_input_shape",),
        length=24,
    ),
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
    rope(
        "rope yarn by lengths alone",
        {"rope_type": "yarn", "factor": None, "original_max_position_embeddings": 8},
    ),
    rope(
        "rope yarn with mscale",
        {
            "rope_type": "yarn",
            "factor": 4.0,
            "mscale": 0.7,
            "mscale_all_dim": 0.5,
            "original_max_position_embeddings": 8,
        },
    ),
    rope(
        "rope yarn, not truncated",
        {"rope_type": "yarn", "factor": 4.0, "truncate": False, "original_max_position_embeddings": 8},
    ),
]


def longrope(pairs):
    """For heads of so many pairs of channels that are turned."""
    factors = {"short_factor": [1.0, 1.1, 1.2, 1.3][:pairs], "long_factor": [2.0, 3.0, 4.0, 5.0][:pairs]}
    return [
        rope(
            f"rope longrope{name}",
            {"rope_type": "longrope", "original_max_position_embeddings": length} | factors | more,
        )
        for name, length, more in [
            ("", 8, {"factor": 2.0}),
            (", short sentences", 12, {"factor": 2.0}),
            (" with its own attention_factor", 8, {"attention_factor": 0.7}),
        ]
    ]


ROTARY = [*PLAIN, *HEAD_DIM, *HIDDEN_ACT, *ROPES, *longrope(2)]
# Of families whose heads have eight channels here.
WIDE_ROTARY = [*PLAIN, *HEAD_DIM, *HIDDEN_ACT, *ROPES, *longrope(4)]
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
SEED_OSS = [
    *WIDE_ROTARY,
    equal("no bias", {"attention_bias": False}),
    equal("every bias", {"attention_out_bias": True, "mlp_bias": True}),
    equal("num_key_value_heads null", {"num_key_value_heads": None}),
    equal("residual_dropout", {"residual_dropout": 0.5}),
    named("attention_out_bias said, not in the file", {}, {"attention_out_bias": True}),
    named("attention_bias left out", {}, {"attention_bias": ABSENT}),
    named("pretraining_tp 2", {}, {"pretraining_tp": 2}),
]
MISTRAL = [
    *ROTARY,
    equal("sliding_window null", {"sliding_window": None}),
    equal("sliding_window as long as the sentences", {"sliding_window": 10}),
    equal("sliding_window 4", {"sliding_window": 4}),
    equal("sliding_window 1", {"sliding_window": 1}),
    named("no sliding_window", {}, {"sliding_window": ABSENT}),
    # `num_key_value_heads` null is what older versions read as many as there are query heads, and this one refuses.
]
UPPER_WINDOWS = [
    equal("a window that is not used", {"use_sliding_window": False, "sliding_window": 4}),
    equal(
        "a window in every layer",
        {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 0},
    ),
    equal(
        "a window in the upper layer",
        {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1},
    ),
    equal(
        "a window in the upper layer, without layer_types",
        {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1},
        {"layer_types": ABSENT},
    ),
    equal(
        "a window above all layers",
        {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 2},
    ),
    equal(
        "layer_types with a window",
        {},
        {"layer_types": ["full_attention", "sliding_attention"], "sliding_window": 4, "use_sliding_window": True},
    ),
    named(
        "layer_types with a window that is not used",
        {},
        {"layer_types": ["full_attention", "sliding_attention"], "sliding_window": 4, "use_sliding_window": False},
        words=("sliding_window", "layer_types"),
    ),
    named("layer_types for fewer layers", {}, {"layer_types": ["full_attention"]}),
    named("layer_types of another kind", {}, {"layer_types": ["full_attention", "linear_attention"]}),
]
QWEN2 = [*ROTARY, *UPPER_WINDOWS, named("use_mrope", {}, {"use_mrope": True})]
ATTENTION_BIAS = [
    equal("attention_bias", {"attention_bias": True}),
    named("attention_bias said, not in the file", {}, {"attention_bias": True}),
]
QWEN3 = [*WIDE_ROTARY, *UPPER_WINDOWS, *ATTENTION_BIAS]
SMOLLM3 = [
    *ROTARY,
    *ATTENTION_BIAS,
    equal("mlp_bias", {"mlp_bias": True}),
    equal("no_rope_layers", {"no_rope_layers": [0, 1]}),
    equal("no layer without rotary positions", {"no_rope_layers": [1, 1]}),
    named("no_rope_layers of another length", {}, {"no_rope_layers": [1]}),
    named("no no_rope_layers", {}, {"no_rope_layers": ABSENT}),
    named("neither no_rope_layers nor its interval", {}, {"no_rope_layers": ABSENT, "no_rope_layer_interval": ABSENT}),
    equal("a window without rotary positions", {"use_sliding_window": True, "sliding_window": 4}),
    equal("a window that is not used", {"use_sliding_window": False, "sliding_window": 4}),
    named("pretraining_tp 2", {}, {"pretraining_tp": 2}),
]
OLMO2 = [
    *ROTARY,
    *ATTENTION_BIAS,
    equal("num_key_value_heads null", {"num_key_value_heads": None}),
]
BOTH = ("full_attention", "sliding_attention")


def by_kind(name, full, sliding, **more):
    """Rotary positions of layers without a window, and with one."""
    kinds = {kind: {"rope_theta": 100.0} | parameters for kind, parameters in zip(BOTH, (full, sliding))}
    return named(name, {NEW_ROPE: kinds}, words=ROPE, **more)


DEFAULT = {"rope_type": "default"}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8}
BY_KIND = [
    by_kind("two rotary bases", {"rope_type": "default", "rope_theta": 500.0}, DEFAULT),
    by_kind("layers with a window turned linearly", DEFAULT, {"rope_type": "linear", "factor": 4.0}),
    by_kind("layers without a window turned linearly", {"rope_type": "linear", "factor": 4.0}, DEFAULT),
    by_kind("layers without a window by yarn", YARN, DEFAULT),
    by_kind("llama3 without a window", LLAMA3, DEFAULT),
    old_rope("no rotary keys", {}),
    old_rope("rope_theta, as older versions write it", {"rope_theta": 100.0}),
    old_rope("rope_scaling null", {"rope_theta": 500000, "rope_scaling": None}),
    old_rope("rope_scaling linear", {"rope_theta": 500000.0, "rope_scaling": {"rope_type": "linear", "factor": 8.0}}),
    named("rope_theta beside rope_parameters", {}, {"rope_theta": 50.0}, words=ROPE),
    rope("one object for all layers", {"rope_type": "default"}),
]
WINDOWS = [
    equal("every layer with a window", {"layer_types": ["sliding_attention"] * 2}),
    equal("no layer with a window", {"layer_types": ["full_attention"] * 2}),
    equal("sliding_window 1", {"sliding_window": 1}),
    equal("sliding_window beyond the sentences", {"sliding_window": 100}),
    named("sliding_window null", {}, {"sliding_window": None}),
    named("no sliding_window", {}, {"sliding_window": ABSENT}),
    named("no layer_types", {}, {"layer_types": ABSENT}),
    named("layer_types of another kind", {}, {"layer_types": ["full_attention", "chunked_attention"]}),
]
OLMO3 = [*PLAIN, *HEAD_DIM, *HIDDEN_ACT, *BY_KIND, *WINDOWS, *ATTENTION_BIAS]
BIDIRECTIONAL = [
    named("use_bidirectional_attention", {"use_bidirectional_attention": True}),
    equal("use_bidirectional_attention false", {"use_bidirectional_attention": False}),
]
GEMMA = [
    *WIDE_ROTARY,
    *ATTENTION_BIAS,
    *BIDIRECTIONAL,
    equal("hidden_activation null", {}, {"hidden_activation": None}),
    equal("hidden_activation", {}, {"hidden_activation": "gelu_pytorch_tanh"}),
    named("another hidden_activation", {}, {"hidden_activation": "gelu"}),
]
LATER_GEMMA = [
    *PLAIN,
    *HEAD_DIM,
    *HIDDEN_ACTIVATION,
    *ATTENTION_BIAS,
    *BIDIRECTIONAL,
    *WINDOWS,
    equal("query_pre_attn_scalar 5", {"query_pre_attn_scalar": 5}),
    equal("final_logit_softcapping 2", {"final_logit_softcapping": 2.0}),
    equal("final_logit_softcapping null", {"final_logit_softcapping": None}),
    equal("hidden_act beside hidden_activation", {}, {"hidden_act": "gelu_pytorch_tanh"}),
    equal("cache_implementation", {}, {"cache_implementation": "hybrid"}),
    *left_out("query_pre_attn_scalar", "final_logit_softcapping", "attn_logit_softcapping"),
]
GEMMA2 = [
    *LATER_GEMMA,
    *ROPES,
    *longrope(4),
    equal("attn_logit_softcapping 0.5", {"attn_logit_softcapping": 0.5}),
    equal("attn_logit_softcapping null", {"attn_logit_softcapping": None}),
]
GEMMA3 = [
    *LATER_GEMMA,
    *BY_KIND,
    named("attn_logit_softcapping", {"attn_logit_softcapping": 2.0}),
    equal(
        "sliding_window_pattern, as older versions write it", {}, {"layer_types": ABSENT, "sliding_window_pattern": 2}
    ),
    old_rope(
        "two bases, as older versions write them",
        {"rope_theta": 500.0, "rope_local_base_freq": 100.0, "rope_scaling": {"rope_type": "linear", "factor": 8.0}},
    ),
]
EXPERTS = [
    equal("one expert of each token", {"num_experts_per_tok": 1}),
    equal("all experts of each token", {"num_experts_per_tok": 4}),
    named("more experts of each token than there are", {"num_experts_per_tok": 5}),
    named("no num_experts_per_tok", {}, {"num_experts_per_tok": ABSENT}),
    equal("two experts", {"num_experts": 2}),
    equal("a router's loss", {"output_router_logits": True, "router_aux_loss_coef": 0.5}, tasks=("language",)),
    named("neither name of the number of experts", {}, {"num_experts": ABSENT, "num_local_experts": ABSENT}),
    named("both names of it", {}, {"num_experts": 4, "num_local_experts": 4}),
    named("names that disagree", {}, {"num_experts": 3, "num_local_experts": 4}),
]
OLDER_NAME = [equal("num_experts, as older versions write it", {}, {"num_local_experts": ABSENT, "num_experts": 4})]
SHARES = [
    equal("norm_topk_prob", {"norm_topk_prob": True}),
    equal("norm_topk_prob false", {"norm_topk_prob": False}),
    *left_out("norm_topk_prob"),
]
QWEN3_MOE = [
    *WIDE_ROTARY,
    *ATTENTION_BIAS,
    *EXPERTS,
    *OLDER_NAME,
    *SHARES,
    equal("a layer without experts", {"mlp_only_layers": [0]}),
    equal("no layer with experts", {"mlp_only_layers": [0, 1]}),
    equal("every second layer with experts", {"decoder_sparse_step": 2}),
    named("mlp_only_layers null", {}, {"mlp_only_layers": None}),
    named("no mlp_only_layers", {"mlp_only_layers": [0]}, {"mlp_only_layers": ABSENT}, words=("mlp",)),
    *left_out("decoder_sparse_step"),
    equal("a window", {"use_sliding_window": True, "sliding_window": 4}),
    equal("a window that is not used", {}, {"use_sliding_window": False, "sliding_window": 4}),
    equal("max_window_layers, as older versions write it", {}, {"max_window_layers": 1}),
]
MIXTRAL = [
    *ROTARY,
    *EXPERTS,
    *OLDER_NAME,
    equal("sliding_window 4", {"sliding_window": 4}),
    equal("no sliding_window", {}, {"sliding_window": ABSENT}),
    equal("router_jitter_noise", {"router_jitter_noise": 0.5}),
]
GPT_OSS = [
    *PLAIN,
    *HEAD_DIM,
    *ROPES,
    *longrope(4),
    *EXPERTS,
    *OLDER_NAME,
    *WINDOWS,
    equal("swiglu_limit 0.5", {"swiglu_limit": 0.5}),
    equal("swiglu_alpha 1", {"swiglu_alpha": 1.0}),
    *left_out("swiglu_limit", "swiglu_alpha", "attention_bias"),
    equal("attention_bias false", {"attention_bias": False}),
    equal("hidden_act, which the experts do not read", {}, {"hidden_act": "gelu"}),
    equal("keys of the first release", {}, {"experts_per_token": 2, "initial_context_length": 8}),
    named("packed", {}, {"quantization_config": {"quant_method": "mxfp4"}}, words=("mxfp4",)),
]
OLMOE = [
    *ROTARY,
    *ATTENTION_BIAS,
    *EXPERTS,
    *SHARES,
    equal("num_key_value_heads null", {"num_key_value_heads": None}),
    named("clip_qkv", {"clip_qkv": 1.0}),
    equal("clip_qkv null", {"clip_qkv": None}),
]
LONGROPE = {
    "rope_type": "longrope",
    "short_factor": [1.0, 1.1],
    "long_factor": [2.0, 3.0],
}
PHI3 = [
    *PLAIN,
    *HIDDEN_ACT,
    equal("rope_theta 500000", {NEW_ROPE: {"rope_type": "default", "rope_theta": 500000.0}}),
    old_rope("rope_theta, as older versions write it", {"rope_theta": 100.0}),
    old_rope("no rotary keys", {}),
    old_rope("rope_scaling linear", {"rope_theta": 100.0, "rope_scaling": {"type": "linear", "factor": 4.0}}),
    old_rope("rope_scaling dynamic", {"rope_theta": 100.0, "rope_scaling": {"type": "dynamic", "factor": 4.0}}),
    old_rope("rope_scaling llama3", {"rope_theta": 100.0, "rope_scaling": LLAMA3}),
    equal("dropout", {"attention_dropout": 0.5, "resid_pdrop": 0.5, "embd_pdrop": 0.5}),
    equal("num_key_value_heads null", {"num_key_value_heads": None}),
    equal("sliding_window null", {"sliding_window": None}),
    equal("sliding_window 4", {"sliding_window": 4}),
    equal(
        "half of each head is turned",
        {NEW_ROPE: {"rope_type": "default", "rope_theta": 100.0, "partial_rotary_factor": 0.5}},
    ),
    old_rope("partial_rotary_factor, as older versions write it", {"rope_theta": 100.0, "partial_rotary_factor": 0.5}),
    equal(
        "longrope, long sentences",
        {NEW_ROPE: LONGROPE | {"rope_theta": 100.0}, "original_max_position_embeddings": 8},
    ),
    equal(
        "longrope, short sentences",
        {NEW_ROPE: LONGROPE | {"rope_theta": 100.0}, "original_max_position_embeddings": 12},
    ),
    old_rope(
        "longrope, as older versions write it",
        {
            "rope_theta": 100.0,
            "original_max_position_embeddings": 8,
            "rope_scaling": {"type": "longrope", "short_factor": [1.0, 1.1], "long_factor": [2.0, 3.0]},
        },
    ),
    named("head_dim", {}, {"head_dim": 4}),
    named("mlp_bias", {}, {"mlp_bias": True}),
    equal("keys of older files", {}, {"attention_bias": False, "mlp_bias": False, "lm_head_bias": False}),
    equal(
        "auto_map of older files",
        {},
        {
            "auto_map": {
                "AutoConfig": "configuration_phi3.Phi3Config",
                "AutoModelForCausalLM": "modeling_phi3.Phi3ForCausalLM",
            }
        },
    ),
    *left_out("original_max_position_embeddings", "sliding_window"),
]
GRANITE = [
    *ROTARY,
    *ATTENTION_BIAS,
    equal("mlp_bias", {"mlp_bias": True}),
    *left_out("embedding_multiplier", "residual_multiplier", "attention_multiplier", "logits_scaling"),
    equal("logits_scaling 8", {"logits_scaling": 8.0}),
]
GLM4 = [
    *PLAIN,
    *HEAD_DIM,
    *HIDDEN_ACT,
    *ROPES,
    *longrope(2),
    equal("attention_bias false", {"attention_bias": False}),
    named("no attention_bias", {}, {"attention_bias": ABSENT}),
    equal(
        "all of each head is turned",
        {NEW_ROPE: {"rope_type": "default", "rope_theta": 100.0, "partial_rotary_factor": 1.0}},
    ),
    old_rope("partial_rotary_factor, as older versions write it", {"rope_theta": 100.0, "partial_rotary_factor": 0.5}),
    *left_out("partial_rotary_factor"),
]
NEOX_OLD = {NEW_ROPE: ABSENT, "rotary_pct": 0.5, "rotary_emb_base": 100.0}
GPT_NEOX = [
    *COMMON,
    *CAUSAL,
    *HIDDEN_ACT,
    equal("dropout", {"attention_dropout": 0.5, "hidden_dropout": 0.5, "classifier_dropout": 0.5}),
    equal("layer_norm_eps 1e-3", {"layer_norm_eps": 1e-3}),
    equal("one after the other", {"use_parallel_residual": False}),
    equal("attention_bias false", {"attention_bias": False}),
    equal("one head", {"num_attention_heads": 1}),
    equal(
        "all of each head is turned",
        {NEW_ROPE: {"rope_type": "default", "rope_theta": 100.0, "partial_rotary_factor": 1.0}},
    ),
    rope("rope linear", {"rope_type": "linear", "factor": 4.0}),
    rope("rope yarn", {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8}),
    equal("rotary_pct and rotary_emb_base, as older versions write them", {}, NEOX_OLD),
    old_rope("other names beside them", NEOX_OLD | {"rope_theta": 100.0, "partial_rotary_factor": 0.5}),
    old_rope("other names that disagree", NEOX_OLD | {"rope_theta": 50.0}),
    old_rope("no rotary keys", {}),
    equal("tied", {"tie_word_embeddings": True}, tasks=("language",)),
    named("num_key_value_heads", {}, {"num_key_value_heads": 2}),
    named("longer than the positions", {}, words=("max_position_embeddings", "wrong_input_shape"), length=24),
    *left_out("layer_norm_eps", "use_parallel_residual", "num_attention_heads", "attention_bias"),
]
