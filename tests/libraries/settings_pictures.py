"""Settings of the networks of images, as those of `settings.py`."""

from settings import COMMON, activations, equal, left_out, named, refused

PLAIN = [s for s in COMMON if s.name not in ("use_cache false", "is_encoder_decoder", "chunk_size_feed_forward 2")]


def body(name):
    return refused(f"architectures {name}", "no head", {}, {"architectures": [name]})


RESNET = [
    *PLAIN,
    *activations("hidden_act"),
    equal("layer_type basic", {"layer_type": "basic"}),
    equal("downsample_in_first_stage", {"downsample_in_first_stage": True}),
    equal("downsample_in_bottleneck", {"downsample_in_bottleneck": True}),
    equal("one channel", {"num_channels": 1}),
    *left_out("hidden_act", "downsample_in_first_stage", "downsample_in_bottleneck"),
    body("ResNetModel"),
]
CONVNEXT = [
    *PLAIN,
    *activations("hidden_act"),
    equal("layer_norm_eps 1e-3", {"layer_norm_eps": 1e-3}),
    equal("drop_path_rate", {"drop_path_rate": 0.5}),
    equal("one channel", {"num_channels": 1}),
    *left_out("hidden_act", "layer_norm_eps"),
]
EFFICIENTNET = [
    *PLAIN,
    *activations("hidden_act"),
    equal("batch_norm_eps 1e-2", {"batch_norm_eps": 1e-2}),
    named("pooling_type max", {"pooling_type": "max"}),
    equal("depthwise_padding", {"depthwise_padding": [1, 2]}),
    equal("depth_coefficient 1.4", {"depth_coefficient": 1.4}),
    equal("strides", {"strides": [2, 1, 2]}),
    equal("drop_connect_rate", {"drop_connect_rate": 0.5}),
    *left_out("hidden_act", "batch_norm_eps", "depthwise_padding"),
]
MOBILENET_V2 = [
    *PLAIN,
    *activations("hidden_act"),
    equal("tf_padding false", {"tf_padding": False}),
    equal("first_layer_is_expansion false", {"first_layer_is_expansion": False}),
    equal("layer_norm_eps 1e-2", {"layer_norm_eps": 1e-2}),
    named("output_stride 8", {"output_stride": 8}),
    *left_out("hidden_act", "tf_padding", "layer_norm_eps", "output_stride"),
]
SWIN = [
    *PLAIN,
    *activations("hidden_act"),
    equal("layer_norm_eps 1e-3", {"layer_norm_eps": 1e-3}),
    equal("use_absolute_embeddings", {"use_absolute_embeddings": True}),
    equal("qkv_bias false", {"qkv_bias": False}),
    equal("window_size 2", {"window_size": 2}),
    equal("depths", {"depths": [1, 3]}),
    equal("drop_path_rate", {"drop_path_rate": 0.5}),
    named("windows that do not fill the grid", {"window_size": 3}),
    *left_out("hidden_act", "layer_norm_eps", "depths"),
]
DINOV2 = [
    *PLAIN,
    *activations("hidden_act"),
    equal("use_swiglu_ffn", {"use_swiglu_ffn": True}),
    equal("layer_norm_eps 1e-3", {"layer_norm_eps": 1e-3}),
    equal("qkv_bias false", {"qkv_bias": False}),
    equal("apply_layernorm false", {"apply_layernorm": False}),
    *left_out("hidden_act", "layer_norm_eps", "num_attention_heads"),
]


def towers(tower):
    """Of a pair whose pictures' side is this one."""

    def of_a_side(**given):
        return {"vision_config": tower | given}

    return [
        *PLAIN,
        named("another activation", of_a_side(hidden_act="relu"), words=("hidden_act",)),
        equal("layer_norm_eps 1e-3", of_a_side(layer_norm_eps=1e-3)),
        equal("one head", of_a_side(num_attention_heads=1)),
        named("a key of the tower", {}, {"vision_config.my_own": 1}, words=("my_own",)),
        named("another activation by hand", {}, {"vision_config.hidden_act": "mish"}, words=("hidden_act",)),
    ]
