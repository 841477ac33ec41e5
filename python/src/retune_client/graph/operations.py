"""What each operation of docs/reference/graph-ops.md computes, by the fields of its node, in PyTorch's words."""

import torch
import torch.nn.functional as F

from .value import heads_of


def attention(node, inputs):
    q, k, v = inputs if len(inputs) == 3 else inputs[0].chunk(3, -1)
    kv_heads = node.get("kv_heads", node["heads"])
    q, k, v = heads_of(q, node["heads"]), heads_of(k, kv_heads), heads_of(v, kv_heads)
    k, v = (part.repeat_interleave(node["heads"] // kv_heads, 1) for part in (k, v))
    found = F.scaled_dot_product_attention(q, k, v, is_causal=node.get("causal", False))
    return found.transpose(1, 2).flatten(2)


def positions(node, inputs, tensors):
    name = node["param"] if node.get("bare") else f"{node['param']}.weight"
    offset, length = node.get("offset", 0), inputs[0].shape[1]
    rows = tensors[name].reshape(-1, tensors[name].shape[-1])[offset : offset + length]
    return rows.expand(len(inputs[0]), -1, -1)


def batch_norm(node, x, tensors):
    mean, var = (tensors[f"{node['param']}.running_{part}"] for part in ("mean", "var"))
    weight, bias = (tensors.get(f"{node['param']}.{part}") for part in ("weight", "bias"))
    return F.batch_norm(x, mean, var, weight, bias, eps=node["eps"])


def convolution(node, x, tensors):
    weight, bias = (tensors.get(f"{node['param']}.{part}") for part in ("weight", "bias"))
    if node["op"] == "patch_embed":
        return F.conv2d(x, weight, bias, stride=weight.shape[2:]).flatten(2).transpose(1, 2)
    x, padding = (around(node, x, weight), 0) if node.get("same") else (x, node["padding"])
    return F.conv2d(x, weight, bias, node["stride"], padding, node["dilation"], node["groups"])


def around(node, x, weight):
    """An image with TensorFlow's zeros: one output for every `stride` pixels that have begun, the odd zero behind."""
    zeros = []
    for size, kernel, stride, dilation in zip(x.shape[2:], weight.shape[2:], node["stride"], node["dilation"], strict=True):
        wanted = max((-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
        zeros = [wanted // 2, wanted - wanted // 2, *zeros]
    return F.pad(x, zeros)


def of_channels(x, how):
    """What `how` makes of the last axis, here of the channels of each token, or of each pixel of an image."""
    return how(x.movedim(1, -1)).movedim(-1, 1) if x.ndim == 4 else how(x)


def response_norm(node, x, weight, bias):
    size = x.norm(dim=(2, 3), keepdim=True)
    share = size / (size.mean(1, keepdim=True) + node["eps"])
    return x + weight[:, None, None] * (x * share) + bias[:, None, None]


def with_parameters(node, inputs, tensors):
    op, param, x = node["op"], node["param"], inputs[0]
    weight, bias = (tensors.get(f"{param}.{part}") for part in ("weight", "bias"))
    match op:
        case "linear":
            return of_channels(x, lambda part: F.linear(part, weight, bias))
        case "conv2d" | "patch_embed":
            return convolution(node, x, tensors)
        case "batch_norm":
            return batch_norm(node, x, tensors)
        case "layer_norm":
            return of_channels(x, lambda part: F.layer_norm(part, part.shape[-1:], weight, bias, node["eps"]))
        case "group_norm":
            return F.group_norm(x, node["groups"], weight, bias, node["eps"])
        case "global_response_norm":
            return response_norm(node, x, weight, bias)
        case "rms_norm":
            return F.rms_norm(x, x.shape[-1:], weight, node["eps"])
        case "layer_scale":
            factors = tensors[f"{param}.{node.get('tensor', 'gamma')}"]
            return of_channels(x, lambda part: part * factors)
        case "embedding":
            return F.embedding(x, weight)
        case "position_embedding":
            return positions(node, inputs, tensors)
        case "class_token":
            return torch.cat([tensors[param].expand(len(x), -1, -1), x], 1)


def without_parameters(node, inputs):
    op, x = node["op"], inputs[0]
    window = [node.get(field) for field in ("kernel", "stride", "padding")]
    match op:
        case "relu":
            return F.relu(x)
        case "gelu":
            return F.gelu(x)
        case "gelu_tanh":
            return F.gelu(x, approximate="tanh")
        case "silu":
            return F.silu(x)
        case "tanh":
            return torch.tanh(x)
        case "sigmoid":
            return torch.sigmoid(x)
        case "hard_sigmoid":
            return F.hardsigmoid(x)
        case "hard_swish":
            return F.hardswish(x)
        case "relu6":
            return F.relu6(x)
        case "scale":
            return x * node["factor"]
        case "split":
            return x.chunk(node["parts"], -1)[node["part"]]
        case "concat":
            return torch.cat(inputs, 2 if x.ndim == 3 else 1)
        case "to_tokens":
            return x.flatten(2).transpose(1, 2)
        case "add":
            return sum(inputs)
        case "gate":
            return inputs[0] * inputs[1]
        case "flatten":
            return x.flatten(1)
        case "max_pool":
            return F.max_pool2d(x, *window, ceil_mode=node["ceil_mode"])
        case "avg_pool":
            return F.avg_pool2d(x, *window, node["ceil_mode"], node["count_include_pad"])
        case "adaptive_avg_pool":
            return F.adaptive_avg_pool2d(x, node["output"])
        case "global_avg_pool":
            return x.mean((2, 3))
        case "attention":
            return attention(node, inputs)
        case "select_token":
            return x[:, 0 if node["position"] == "first" else -1]
        case "mean_tokens":
            return x.mean(1)
