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
    return F.conv2d(x, weight, bias, node["stride"], node["padding"], node["dilation"], node["groups"])


def with_parameters(node, inputs, tensors):
    op, param, x = node["op"], node["param"], inputs[0]
    weight, bias = (tensors.get(f"{param}.{part}") for part in ("weight", "bias"))
    match op:
        case "linear":
            return F.linear(x, weight, bias)
        case "conv2d" | "patch_embed":
            return convolution(node, x, tensors)
        case "batch_norm":
            return batch_norm(node, x, tensors)
        case "layer_norm":
            return F.layer_norm(x, x.shape[-1:], weight, bias, node["eps"])
        case "rms_norm":
            return F.rms_norm(x, x.shape[-1:], weight, node["eps"])
        case "layer_scale":
            return x * tensors[f"{param}.gamma"]
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
