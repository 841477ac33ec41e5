"""Modules of torch.nn, as nodes of a graph."""

import torch
from torch import nn

from .attention import multihead
from .calls import adaptive_avg_pool, avg_pool, max_pool
from .value import Refused, pair


def encoder_layer(reader, path, module, x, src_mask=None, src_key_padding_mask=None, is_causal=False):
    def mixed(x):
        attention, place = module.self_attn, f"{path}.self_attn"
        return multihead(reader, place, attention, x, x, x, src_key_padding_mask, attn_mask=src_mask)[0]

    def fed(x):
        x = reader.of_module(f"{path}.linear1", module.linear1, [x], {})
        if isinstance(module.activation, nn.Module):
            x = reader.of_module(f"{path}.activation", module.activation, [x], {})
        else:
            x = reader.of_call(module.activation.__name__, module.activation, [x], {})
        return reader.of_module(f"{path}.linear2", module.linear2, [x], {})

    def norm(number, x):
        return reader.of_module(f"{path}.norm{number}", getattr(module, f"norm{number}"), [x], {})

    def sum_of(*parts):
        return reader.of_call("add", torch.add, parts, {})

    if module.norm_first:
        x = sum_of(x, mixed(norm(1, x)))
        return sum_of(x, fed(norm(2, x)))
    x = norm(1, sum_of(x, mixed(x)))
    return norm(2, sum_of(x, fed(x)))


def encoder(reader, path, module, x, mask=None, src_key_padding_mask=None, is_causal=None):
    for number, layer in enumerate(module.layers):
        x = encoder_layer(reader, f"{path}.layers.{number}", layer, x, mask, src_key_padding_mask)
    return x if module.norm is None else reader.of_module(f"{path}.norm", module.norm, [x], {})


def convolution_fields(param, module):
    padding = module.padding
    if padding == "same":
        reach = [d * (k - 1) for d, k in zip(module.dilation, module.kernel_size, strict=True)]
        if any(size % 2 for size in reach):
            raise Refused("it pads one side more than the other (padding 'same'). Give it an odd kernel.")
        padding = [size // 2 for size in reach]
    fields = {"stride": pair(module.stride), "padding": [0, 0] if padding == "valid" else pair(padding)}
    return {"op": "conv2d", "param": param} | fields | {"dilation": pair(module.dilation), "groups": module.groups}


def norm_fields(op):
    def fields(param, module):
        shape = getattr(module, "normalized_shape", (0,))
        if len(shape) > 1 or module.weight is None and op != "batch_norm":
            raise Refused(f"a {op} over {len(shape)} axes or without a weight. A graph has it over the channels.")
        eps = torch.finfo(torch.float32).eps if module.eps is None else module.eps
        return {"op": op, "param": param, "eps": eps}

    return fields


def same_convolution_fields(param, module):
    """timm's convolution with TensorFlow's padding."""
    fields = convolution_fields(param, module)
    del fields["padding"]
    return fields | {"same": True}


def group_norm_fields(param, module):
    if module.weight is None:
        raise Refused("a group_norm without a weight. Give it affine=True.")
    return {"op": "group_norm", "param": param, "groups": module.num_groups, "eps": module.eps}


def response_norm_fields(param, module):
    """timm's norm of ConvNeXt V2."""
    return {"op": "global_response_norm", "param": param, "eps": module.eps}


# Modules of timm that branch on sizes, or that one operation is, by the names of their classes.
LEAVES = ("Conv2dSame", "GlobalResponseNorm")


def kind_of(module):
    """What a module is looked up by: its class, or the name of one of timm's."""
    name = type(module).__name__
    return name if name in LEAVES else type(module)


FIELDS = {
    "Conv2dSame": same_convolution_fields,
    "GlobalResponseNorm": response_norm_fields,
    nn.Linear: lambda param, module: {"op": "linear", "param": param},
    nn.modules.linear.NonDynamicallyQuantizableLinear: lambda param, module: {"op": "linear", "param": param},
    nn.Conv2d: convolution_fields,
    nn.BatchNorm1d: norm_fields("batch_norm"),
    nn.BatchNorm2d: norm_fields("batch_norm"),
    nn.GroupNorm: group_norm_fields,
    nn.LayerNorm: norm_fields("layer_norm"),
    nn.RMSNorm: norm_fields("rms_norm"),
    nn.Embedding: lambda param, module: {"op": "embedding", "param": param},
    nn.ReLU: lambda param, module: {"op": "relu"},
    nn.GELU: lambda param, module: {"op": "gelu_tanh" if module.approximate == "tanh" else "gelu"},
    nn.SiLU: lambda param, module: {"op": "silu"},
    nn.Tanh: lambda param, module: {"op": "tanh"},
    nn.Sigmoid: lambda param, module: {"op": "sigmoid"},
    nn.Hardsigmoid: lambda param, module: {"op": "hard_sigmoid"},
    nn.Hardswish: lambda param, module: {"op": "hard_swish"},
    nn.ReLU6: lambda param, module: {"op": "relu6"},
}
# What is computed of the channels of each pixel, wherever these stand.
OF_CHANNELS = {
    nn.Linear, nn.LayerNorm, nn.ReLU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.Hardsigmoid, nn.Hardswish, nn.ReLU6,
    "GlobalResponseNorm",
}  # fmt: skip


def of_max_pool(reader, path, module, x):
    window = (module.kernel_size, module.stride, module.padding, module.dilation, module.ceil_mode)
    return max_pool(reader, None, x, *window)


def of_avg_pool(reader, path, module, x):
    window = (module.kernel_size, module.stride, module.padding, module.ceil_mode, module.count_include_pad)
    if module.divisor_override is not None:
        raise Refused("an average pool has a divisor_override, which a graph lacks.")
    return avg_pool(reader, None, x, *window)


def of_adaptive_pool(reader, path, module, x):
    return adaptive_avg_pool(reader, None, x, module.output_size)


MODULES = {
    nn.MaxPool2d: of_max_pool,
    nn.AvgPool2d: of_avg_pool,
    nn.AdaptiveAvgPool2d: of_adaptive_pool,
    nn.MultiheadAttention: multihead,
    nn.TransformerEncoderLayer: encoder_layer,
    nn.TransformerEncoder: encoder,
}
