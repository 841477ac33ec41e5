"""Settings of encoders in BERT's wake, and of T5."""

from models import ABSENT
from settings import BERT_LIKE, COMMON, OTHER_HEADS, activations, equal, left_out, named, other_heads, refused

DROPOUT = "dropout"
OF_BERT = [setting for setting in BERT_LIKE if setting.name != DROPOUT]
DROPOUTS = equal(DROPOUT, {"hidden_dropout_prob": 0.5, "attention_probs_dropout_prob": 0.5})
# The library computes with the number of buckets that it always has.
BUCKETS = [
    named("relative_attention_num_buckets 40", {"relative_attention_num_buckets": 40}),
    named("relative_attention_num_buckets 24", {"relative_attention_num_buckets": 24}),
]
MPNET = [
    *OF_BERT,
    DROPOUTS,
    *other_heads("MPNet", OTHER_HEADS),
    *BUCKETS,
    equal("pad_token_id 0", {"pad_token_id": 0}),
    equal("pad_token_id null", {"pad_token_id": None}),
]
ELECTRA = [
    *OF_BERT,
    DROPOUTS,
    *other_heads("Electra", OTHER_HEADS + ("ForPreTraining", "ForCausalLM")),
    equal("classifier_dropout", {"classifier_dropout": 0.5}),
    equal("embeddings as wide as the encoder", {"embedding_size": 16}),
    equal("embeddings wider than the encoder", {"embedding_size": 20}),
    equal("summary", {"summary_type": "last", "summary_use_proj": False, "summary_activation": "tanh"}),
    named("four token types", {"type_vocab_size": 4}),
]
SHARED = [setting for setting in OF_BERT if "num_hidden_layers" not in {**setting.config, **setting.edit}]
ALBERT = [
    *SHARED,
    DROPOUTS,
    *other_heads("Albert", OTHER_HEADS + ("ForPreTraining",)),
    equal("classifier_dropout_prob", {"classifier_dropout_prob": 0.5}),
    equal("one group", {"num_hidden_groups": 1}),
    equal("as many groups as layers", {"num_hidden_groups": 4}),
    equal("five layers of three groups", {"num_hidden_layers": 5, "num_hidden_groups": 3}),
    equal("two layers in a group", {"inner_group_num": 2}),
    equal("more runs than the file was trained with", {}, {"num_hidden_layers": 6}),
    named("num_hidden_groups says fewer than the file has", {}, {"num_hidden_groups": 1}),
    named("inner_group_num says more than the file has", {}, {"inner_group_num": 2}),
    equal("keys of the first release", {}, {"down_scale_factor": 1, "gap_size": 0, "net_structure_type": 0}),
    *left_out("num_hidden_groups", "inner_group_num"),
]
DEBERTA = [
    *OF_BERT,
    DROPOUTS,
    *activations("pooler_hidden_act"),
    *other_heads("DebertaV2", OTHER_HEADS),
    equal("other dropouts", {"pooler_dropout": 0.5, "cls_dropout": 0.5}),
    equal("kinds with a stroke", {"pos_att_type": "p2c|c2p"}),
    equal("queries meet distances", {"pos_att_type": ["c2p"]}),
    equal("keys meet distances", {"pos_att_type": ["p2c"]}),
    named("another kind", {"pos_att_type": ["c2p", "p2p"]}),
    named("no kind", {"pos_att_type": None}),
    equal("projections of their own", {"share_att_key": False}),
    equal("no buckets", {"position_buckets": -1}),
    equal("more buckets than distances", {"position_buckets": 64}),
    equal("few distances", {"position_buckets": -1, "max_relative_positions": 3}),
    equal("few distances with buckets", {"max_relative_positions": 5}),
    named("buckets that do not fit the distances", {"max_relative_positions": 4}),
    equal("no norm of distances", {"norm_rel_ebd": "none"}),
    equal("no relative attention", {"relative_attention": False}),
    equal("no relative attention and no kind", {"relative_attention": False, "pos_att_type": None}),
    equal("positions too", {"position_biased_input": True}),
    equal("no token types", {"type_vocab_size": 0}),
    equal("narrow embeddings", {"embedding_size": 8}),
    named("a convolution", {"conv_kernel_size": 3}),
    equal("no convolution", {"conv_kernel_size": 0, "conv_act": "gelu"}),
    equal("legacy", {"legacy": False}),
    *left_out("pos_att_type", "relative_attention", "share_att_key", "position_buckets", "norm_rel_ebd"),
]
OF_T5 = ("use_cache false", "is_encoder_decoder", "chunk_size_feed_forward 2", "no architectures")
T5 = [
    *[setting for setting in COMMON if setting.name not in OF_T5],
    *activations("feed_forward_proj"),
    *[named(f"gated {name}", {"feed_forward_proj": f"gated-{name}"}) for name in ("gelu", "silu", "relu", "gelu_new", "mish")],
    equal("dropout", {"dropout_rate": 0.5, "classifier_dropout": 0.5}),
    equal("layer_norm_epsilon 1e-3", {"layer_norm_epsilon": 1e-3}),
    equal("one head", {"num_heads": 1}),
    equal("one layer", {"num_layers": 1}),
    equal("another number of layers in the decoder", {"num_decoder_layers": 1}),
    equal("heads of another width", {"d_kv": 7}),
    equal("buckets", {"relative_attention_num_buckets": 32, "relative_attention_max_distance": 128}),
    equal("few distances", {"relative_attention_max_distance": 4}),
    equal("another first id", {"decoder_start_token_id": 3}),
    named("no first id", {}, {"decoder_start_token_id": ABSENT}),
    named("dense_act_fn alone", {}, {"dense_act_fn": "silu"}),
    named("is_gated_act alone", {}, {"is_gated_act": "maybe"}),
    equal("n_positions", {}, {"n_positions": 512}),
    equal("tie_word_embeddings false", {}, {"tie_word_embeddings": False}),
    named("num_layers says fewer than the file has", {}, {"num_layers": 1}),
    *[
        refused(f"architectures {suffix}", "another head", {}, {"architectures": [suffix]}, tasks=("classifier",))
        for suffix in ("T5Model", "T5ForQuestionAnswering")
    ],
    *left_out("num_heads", "feed_forward_proj", "layer_norm_epsilon", "eos_token_id"),
]
