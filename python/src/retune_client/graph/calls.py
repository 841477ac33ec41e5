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
    "sigmoid": "Return the logits themselves.",
    "conv2d": "Use the module torch.nn.Conv2d.",
    "batch_norm": "Use the module torch.nn.BatchNorm2d.",
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
    if not (isinstance(x, Value) and isinstance(y, Value)):
        raise Refused("a tensor is multiplied by a number. Fold the number into the weights of a layer.")
    if isinstance(x.origin, str):
        x, y = y, x
    if isinstance(y.origin, str):
        if not y.origin.endswith(".gamma"):
            reason = f"the parameter {y.origin} is multiplied. A factor per channel is a layer_scale, named `….gamma`."
            raise Refused(reason)
        return reader.unary({"op": "layer_scale", "param": y.origin.removesuffix(".gamma")}, x, x.real * y.real)
    read = [reader.operand(x, "gate"), reader.operand(y, "gate")]
    return reader.emit({"op": "gate"}, read, x.real * y.real)


def mean(reader, function, x, dim=None, keepdim=False):
    axes = sorted(axis % x.real.ndim for axis in ([dim] if isinstance(dim, int) else dim or []))
    op = {(4, 2, 3): "global_avg_pool", (3, 1): "mean_tokens"}.get((x.real.ndim, *axes))
    if op is None:
        shape = list(x.real.shape)
        raise Refused(f"a mean over the axes {dim} of {shape}. A graph has it over height and width, or over tokens.")
    found = reader.unary({"op": op}, x, x.real.mean(axes))
    kept = [1 if axis in axes else size for axis, size in enumerate(x.real.shape)]
    return found.moved(lambda part: part.reshape(kept)) if keepdim else found


def concatenated(reader, function, parts, dim=0):
    """A class token before the tokens; nothing else is joined."""
    if len(parts) == 2 and dim in (1, -2) and isinstance(parts[0].origin, str) and parts[1].real.ndim == 3:
        token, tokens = parts
        real = torch.cat([token.real, tokens.real], 1)
        return reader.unary({"op": "class_token", "param": token.origin}, tokens, real)
    raise Refused("tensors are joined. A graph joins a class token [1, 1, D] before the tokens, and nothing else.")


def linear(reader, function, x, weight, bias=None):
    real = F.linear(real_of(x), real_of(weight), real_of(bias))
    return reader.unary({"op": "linear", "param": prefix_of(weight, bias)}, x, real)


def layer_norm(reader, function, x, normalized_shape, weight=None, bias=None, eps=1e-5):
    if len(normalized_shape) > 1:
        raise Refused(f"a layer_norm over {len(normalized_shape)} axes. A graph has it over the channels.")
    real = F.layer_norm(real_of(x), normalized_shape, real_of(weight), real_of(bias), eps)
    return reader.unary({"op": "layer_norm", "param": prefix_of(weight, bias), "eps": eps}, x, real)


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
    "dropout": same, "dropout2d": same, "float": same, "to": same,
    "add": add, "iadd": add, "mul": multiply, "imul": multiply, "mean": mean,
    "cat": concatenated, "concat": concatenated, "linear": linear, "layer_norm": layer_norm,
    "max_pool2d": max_pool, "boolean_dispatch": max_pool, "avg_pool2d": avg_pool,
    "adaptive_avg_pool2d": adaptive_avg_pool, "scaled_dot_product_attention": dot_product_attention,
}  # fmt: skip

# What computes every entry by itself, in any order of the axes.
POINTWISE = {"relu", "silu", "tanh", "gelu", "add", "iadd", "mul", "imul"}
