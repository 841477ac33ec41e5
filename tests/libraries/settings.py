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
OF_READ_HEADS = {
    "ForTokenClassification": ("labels",),
    "ForQuestionAnswering": ("the first and the last token of an answer", "qa_outputs"),
    "ForMaskedLM": ("missing_tensor", "labels"),
}
OTHER_HEADS = ("ForMaskedLM", "ForTokenClassification", "ForQuestionAnswering", "ForMultipleChoice", "Model")
COMMON = [
    equal("class names", LABELS, tasks=CLASSIFIER),
    equal(
        "problem_type single_label_classification", {"problem_type": "single_label_classification"}, tasks=CLASSIFIER
    ),
    # The labels here are classes: a refusal may name what these tasks have instead (`tasks.py` gives them theirs).
    refused(
        "problem_type regression",
        "a regression",
        {"problem_type": "regression"},
        words=("problem_type", "values of a regression"),
        tasks=CLASSIFIER,
    ),
    refused(
        "problem_type multi_label_classification",
        "many labels",
        {"problem_type": "multi_label_classification"},
        words=("problem_type", "a row of 0 and 1"),
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
    equal("notes of the library", {}, {"_name_or_path": "somebody/model", "transformers_version": "4.30.0"}),
    # The library ignores it; the program cannot know that it will.
    named("a user's own keys", {}, {"my_project": {"run": 7}}),
]


def other_heads(prefix, suffixes):
    return [
        refused(
            f"architectures {prefix}{suffix}",
            "another head",
            {},
            {"architectures": [prefix + suffix]},
            # These heads are read, with labels of another form or tensors that the file lacks.
            words=("architectures", *OF_READ_HEADS.get(suffix, ())),
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
MODERNBERT = [
    *COMMON,
    *activations("hidden_activation"),
    *activations("classifier_activation"),
    *other_heads("ModernBert", OTHER_HEADS),
    equal("dropout", {"attention_dropout": 0.5, "mlp_dropout": 0.5, "embedding_dropout": 0.5}),
    equal("norm_eps 1e-3", {"norm_eps": 1e-3}),
    equal("one head", {"num_attention_heads": 1}),
    equal("biases", {"attention_bias": True, "mlp_bias": True, "norm_bias": True, "classifier_bias": True}),
    equal("classifier_pooling mean", {"classifier_pooling": "mean"}),
    equal("local_attention 2", {"local_attention": 2}),
    equal("local_attention 7", {"local_attention": 7}),
    equal("every layer with a window", {"layer_types": ["sliding_attention"] * 2}),
    named("layer_types of another kind", {}, {"layer_types": ["full_attention", "chunked_attention"]}),
    equal("global_attn_every_n_layers, as older versions write it", {}, {"layer_types": ABSENT}),
    equal("every layer global", {}, {"layer_types": ABSENT, "global_attn_every_n_layers": 1}),
    equal(
        "two bases, as older versions write them",
        {},
        {"rope_parameters": ABSENT, "global_rope_theta": 500.0, "local_rope_theta": 50.0},
    ),
    equal("no rotary keys", {}, {"rope_parameters": ABSENT}),
    equal(
        "scaled rotary positions",
        {
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "factor": 4.0, "rope_theta": 50.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
            }
        },
    ),
    named("longer than the positions", {}, words=("max_position_embeddings", "wrong_input_shape"), length=24),
    *left_out("hidden_activation", "norm_eps", "local_attention", "classifier_pooling", "classifier_activation"),
]
