"""Functions and methods of tensors, as nodes of a graph. Each takes the reader, the function and its arguments."""

import torch
import torch.nn.functional as F

from .attention import dot_product_attention
from .value import Refused, Value, counted, pair, real_of

LAYOUTS = {
    "reshape", "view", "flatten", "transpose", "permute", "movedim", "squeeze", "unsqueeze", "contiguous",
    "getitem", "chunk", "split", "unbind", "expand", "swapaxes", "unflatten", "select", "narrow",
}  # fmt: skip

ADVICE = {
    "matmul": "Call torch.nn.functional.scaled_dot_product_attention for an attention.",
    "softmax": "Call torch.nn.functional.scaled_dot_product_attention for an attention; leave it off the logits.",
    "log_softmax": "Return the logits themselves.",
    "conv2d": "Use the module torch.nn.Conv2d.",
    "embedding": "Use the module torch.nn.Embedding.",
}


def same(reader, function, x, *rest, **named):
    return x


def activation(op):
    return lambda reader, function, x, *rest, **named: reader.unary({"op": op}, x, function(x.real, *rest, **named))


def gelu(reader, function, x, approximate="none"):
    op = "gelu_tanh" if approximate == "tanh" else "gelu"
    return reader.unary({"op": op}, x, F.gelu(x.real, approximate=approximate))


def add(reader, function, x, y, alpha=1):
    if not (isinstance(x, Value) and isinstance(y, Value)) or alpha != 1:
        raise Refused("a number is added. A graph adds what layers put out; put the number into a bias.")
    if isinstance(x.origin, str):
        x, y = y, x
    read = [reader.operand(x, "add")]
    if isinstance(y.origin, str):
        read.append(position_rows(reader, x, y))
    else:
        read.append(reader.operand(y, "add"))
    return reader.emit({"op": "add"}, read, x.real + y.real)


def position_rows(reader, tokens, rows):
    """The node of a parameter that is added to every sample: the rows of a table of positions."""
    name, shape = rows.origin, reader.tensors[rows.origin].shape
    width = shape[-1]
    offset, length = rows.index.min().item() // width, tokens.real.shape[1]
    at = rows.index.reshape(-1, *rows.index.shape[-2:])[0]  # the same for every sample
    bare = len(shape) == 3 and shape[0] == 1
    fits = tokens.real.ndim == 3 and (bare or len(shape) == 2 and name.endswith(".weight"))
    if not fits or not torch.equal(at, counted(length, width) + offset * width):
        raise Refused(
            f"the parameter {name} {list(shape)} is added. A graph adds rows of positions: an nn.Embedding read at "
            "torch.arange, or a parameter [1, S, D]."
        )
    fields = {"op": "position_embedding", "param": name if bare else name.removesuffix(".weight")}
    fields |= {"bare": bare or None, "offset": offset or None}
    origin = reader.operand(tokens, "position_embedding")
    return reader.emit(fields, [origin], rows.real.expand(len(tokens.real), -1, -1)).origin


def multiply(reader, function, x, y):
    if not isinstance(x, Value):
        x, y = y, x
    if isinstance(y, (int, float)):
        return scaled(reader, x, float(y))
    if not isinstance(y, Value):
        raise Refused("a tensor is multiplied by a constant. Make it a parameter of the model.")
    if isinstance(x.origin, str):
        x, y = y, x
    if isinstance(y.origin, str):
        return layer_scale(reader, x, y)
    if y.real.numel() > x.real.numel():
        x, y = y, x
    read = [reader.operand(x, "gate"), reader.operand(y, "gate")]
    return reader.emit({"op": "gate"}, read, x.real * y.real)


def divide(reader, function, x, y):
    if not isinstance(x, Value) or not isinstance(y, (int, float)) or y == 0:
        raise Refused("a tensor is divided by another. A graph divides by a number.")
    return scaled(reader, x, 1 / y)


def scaled(reader, x, factor):
    return reader.unary({"op": "scale", "factor": factor}, x, x.real * factor)


def layer_scale(reader, x, factors):
    """A parameter `[C]` times each channel: the last axis of tokens, the first of an image."""
    name, ndim = factors.origin, x.real.ndim
    shape = [1] * ndim
    shape[1 if ndim == 4 else -1] = -1
    channels = x.real.shape[1 if ndim == 4 else -1]
    # Where an image has its channels last, so has its factor.
    laid = factors if factors.index.ndim > 1 or ndim != 4 else factors.moved(lambda part: part.reshape(shape))
    expected = counted(channels).reshape(shape).broadcast_to(x.real.shape)
    is_vector = reader.tensors[name].shape == (channels,)
    fits = laid.index.ndim <= ndim and is_vector and torch.equal(laid.index.broadcast_to(x.real.shape), expected)
    prefix, _, tensor = name.rpartition(".")
    if not fits or not prefix or ndim < 3:
        raise Refused(
            f"the parameter {name} {list(reader.tensors[name].shape)} is multiplied. A factor per channel is a "
            "parameter [C] of a module, of tokens or images."
        )
    fields = {"op": "layer_scale", "param": prefix, "tensor": None if tensor == "gamma" else tensor}
    return reader.unary(fields, x, x.real * laid.real)


def mean(reader, function, x, dim=None, keepdim=False):
    axes = sorted(axis % x.real.ndim for axis in ([dim] if isinstance(dim, int) else dim or []))
    op = {(4, 2, 3): "global_avg_pool", (3, 1): "mean_tokens"}.get((x.real.ndim, *axes))
    if op is None:
        shape = list(x.real.shape)
        raise Refused(f"a mean over the axes {dim} of {shape}. A graph has it over height and width, or over tokens.")
    if keepdim and len(axes) == 2:
        return reader.unary({"op": "adaptive_avg_pool", "output": [1, 1]}, x, x.real.mean(axes, keepdim=True))
    found = reader.unary({"op": op}, x, x.real.mean(axes))
    kept = [1 if axis in axes else size for axis, size in enumerate(x.real.shape)]
    return found.moved(lambda part: part.reshape(kept)) if keepdim else found


def concatenated(reader, function, parts, dim=0):
    """A class token before the tokens, or channels one behind the other."""
    ndim = max(part.real.ndim for part in parts)
    axis = dim % ndim
    if len(parts) == 2 and axis == 1 and isinstance(parts[0].origin, str) and parts[1].real.ndim == 3:
        token, tokens = parts
        real = torch.cat([token.real, tokens.real], 1)
        return reader.unary({"op": "class_token", "param": token.origin}, tokens, real)
    if axis != {2: 1, 3: 2, 4: 1}.get(ndim):
        raise Refused(
            "tensors are joined. A graph joins channels, and a class token [1, 1, D] before the tokens, and nothing else."
        )
    read = [reader.operand(part, "concat") for part in parts]
    return reader.emit({"op": "concat"}, read, torch.cat([part.real for part in parts], axis))


def linear(reader, function, x, weight, bias=None):
    real = F.linear(real_of(x), real_of(weight), real_of(bias))
    return reader.unary({"op": "linear", "param": prefix_of(weight, bias)}, x, real)


def layer_norm(reader, function, x, normalized_shape, weight=None, bias=None, eps=1e-5):
    if len(normalized_shape) > 1:
        raise Refused(f"a layer_norm over {len(normalized_shape)} axes. A graph has it over the channels.")
    real = F.layer_norm(real_of(x), normalized_shape, real_of(weight), real_of(bias), eps)
    fields = {"op": "layer_norm", "param": prefix_of(weight, bias), "eps": eps}
    order = reader.order(x)
    if order is None:
        return reader.unary(fields, x, real)
    return reader.unary(fields, x.moved(order.back), order.back(real)).moved(order.put)


def group_norm(reader, function, x, num_groups, weight=None, bias=None, eps=1e-5):
    real = F.group_norm(real_of(x), num_groups, real_of(weight), real_of(bias), eps)
    fields = {"op": "group_norm", "param": prefix_of(weight, bias), "groups": num_groups, "eps": eps}
    return reader.unary(fields, x, real)


def batch_norm(reader, function, x, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1,
               eps=1e-5):  # fmt: skip
    name = getattr(running_mean, "origin", None)
    if training or not isinstance(name, str) or not name.endswith(".running_mean"):
        raise Refused("a batch_norm takes the statistics of the batch. A graph has those of the training.")
    prefix = name.removesuffix(".running_mean")
    others = {"running_var": running_var, "weight": weight, "bias": bias}
    if any(part is not None and part.origin != f"{prefix}.{end}" for end, part in others.items()):
        raise Refused(f"a batch_norm reads {name} with other tensors than those of {prefix}. Use a module of torch.nn.")
    parts = map(real_of, (running_mean, running_var, weight, bias))
    real = F.batch_norm(x.real, *parts, training=False, eps=eps)
    return reader.unary({"op": "batch_norm", "param": prefix, "eps": eps}, x, real)


def hard_tanh(reader, function, x, min_val=-1.0, max_val=1.0, *rest, **named):
    low, high = named.get("min", min_val), named.get("max", max_val)
    if (low, high) != (0, 6):
        raise Refused(f"values are cut off at {low} and {high}. A graph has 0 and 6 (relu6).")
    return reader.unary({"op": "relu6"}, x, x.real.clamp(0, 6))


def prefix_of(weight, bias):
    """The prefix of a function's parameters, which must be `prefix.weight` and `prefix.bias`."""
    name = getattr(weight, "origin", None)
    if not isinstance(name, str) or not name.endswith(".weight") or not weight.is_laid_out(counted(*weight.real.shape)):
        raise Refused("a function reads a weight that is no parameter `….weight`. Use a module of torch.nn.")
    prefix = name.removesuffix(".weight")
    if bias is not None and getattr(bias, "origin", None) != f"{prefix}.bias":
        raise Refused(f"a function reads {name} with another bias than {prefix}.bias. Use a module of torch.nn.")
    return prefix


def max_pool(reader, function, x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, **named):
    real = F.max_pool2d(x.real, kernel_size, stride, padding, dilation, ceil_mode)
    fields = {"kernel": pair(kernel_size), "stride": pair(stride or kernel_size), "padding": pair(padding)}
    return reader.unary({"op": "max_pool"} | fields | {"ceil_mode": ceil_mode}, x, real)


def avg_pool(reader, function, x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
    real = F.avg_pool2d(x.real, kernel_size, stride, padding, ceil_mode, count_include_pad)
    fields = {"kernel": pair(kernel_size), "stride": pair(stride or kernel_size), "padding": pair(padding)}
    fields |= {"ceil_mode": ceil_mode, "count_include_pad": count_include_pad}
    return reader.unary({"op": "avg_pool"} | fields, x, real)


def adaptive_avg_pool(reader, function, x, output_size):
    wanted = [size or own for size, own in zip(pair(output_size), x.real.shape[2:], strict=True)]
    return reader.unary({"op": "adaptive_avg_pool", "output": wanted}, x, F.adaptive_avg_pool2d(x.real, wanted))


CALLS = {
    "relu": activation("relu"), "silu": activation("silu"), "tanh": activation("tanh"), "gelu": gelu,
    "sigmoid": activation("sigmoid"), "hardsigmoid": activation("hard_sigmoid"),
    "hardswish": activation("hard_swish"), "relu6": activation("relu6"), "hardtanh": hard_tanh, "clamp": hard_tanh,
    "dropout": same, "dropout2d": same, "float": same, "to": same,
    "add": add, "iadd": add, "mul": multiply, "imul": multiply, "truediv": divide, "div": divide, "mean": mean,
    "cat": concatenated, "concat": concatenated, "linear": linear, "layer_norm": layer_norm,
    "group_norm": group_norm, "batch_norm": batch_norm,
    "max_pool2d": max_pool, "boolean_dispatch": max_pool, "avg_pool2d": avg_pool,
    "adaptive_avg_pool2d": adaptive_avg_pool, "scaled_dot_product_attention": dot_product_attention,
}  # fmt: skip

# What computes every entry by itself, in any order of the axes.
POINTWISE = {
    "relu", "silu", "tanh", "gelu", "sigmoid", "hardsigmoid", "hardswish", "relu6", "hardtanh", "clamp", "add", "iadd",
    "mul", "imul", "truediv", "div",
}  # fmt: skip
