"""Runs a model that torch.fx has traced on one batch, and writes the graph's nodes on the way."""

import torch
from torch import fx, nn

from .calls import ADVICE, CALLS, LAYOUTS, POINTWISE
from .layers import FIELDS, MODULES, OF_CHANNELS, kind_of
from .operations import with_parameters, without_parameters
from .value import CHANNELS_LAST, TURNED, Refused, Value, counted, flat, real_of

PASSED_OVER = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d)
# What torch.fx writes to hold that an argument keeps its default.
ASSERTIONS = ("assert_is_none", "assert")


class Reader(fx.Interpreter):
    """`nodes`, what they read (`inputs`: positions, None the sample) and what they put out for the example
    (`reals`); `tensors` of the model by name."""

    def __init__(self, traced, model, example):
        super().__init__(traced)
        self.extra_traceback = False
        self.example = example
        self.nodes, self.inputs, self.reals = [], [], []
        self.names, self.tensors, self.renamed = {}, {}, {}
        first = {}
        # A tensor that the model has under several names goes by the first of them.
        for name, tensor in model.state_dict(keep_vars=True).items():
            self.names[name] = first.setdefault(id(tensor), name)
            if self.names[name] == name:
                self.tensors[name] = tensor.detach()

    # Nodes

    def emit(self, fields, inputs, real, index=None):
        """Writes a node, having computed it by its own words. `index` is the value's layout of what the node puts
        out, where it differs."""
        fields = {key: value for key, value in fields.items() if value is not None}
        read = [self.whole(origin) for origin in inputs]
        if "param" in fields:
            found = with_parameters(fields, read, self.tensors)
        else:
            found = without_parameters(fields, read)

        index = counted(*found.shape) if index is None else index
        said = found.reshape(-1)[index]
        if said.shape != real.shape or not torch.allclose(said, real, rtol=1e-4, atol=1e-5):
            raise Refused(
                f"the model's values {list(real.shape)} differ from the graph's {list(said.shape)}, which come from "
                f"{fields}. A setting of the layer has no field in the graph: leave it at its default."
            )
        self.nodes.append(fields)
        self.inputs.append(list(inputs))
        self.reals.append(found)
        return Value(real, len(self.nodes) - 1, index)

    def whole(self, origin):
        """What a node puts out, or the sample."""
        return self.example if origin is None else self.reals[origin]

    def unary(self, fields, value, real):
        return self.emit(fields, [self.operand(value, fields["op"])], real)

    def operand(self, value, reader):
        """What a node reads for this value, after the node that brings it into this layout."""
        if not isinstance(value, Value) or isinstance(value.origin, str):
            raise Refused(f"{reader} reads a constant or a parameter. Give the values a layer of their own.")
        whole = self.whole(value.origin)
        source = counted(*whole.shape)
        if value.is_laid_out(source):
            return value.origin
        if self.is_patches(value, source):
            conv = value.origin
            fields = {"op": "patch_embed", "param": self.nodes[conv]["param"]}
            return self.emit(fields, self.inputs[conv], value.real).origin
        if fields := bridge(value, source):
            return self.emit(fields, [value.origin], value.real).origin
        raise Refused(
            f"{reader} reads {list(value.real.shape)}, a rearrangement of {list(whole.shape)} that a graph cannot say. "
            "It knows: flatten from axis 1, the first or last token, the heads of an attention, the pixels of an image as "
            "tokens, equal parts of the channels of tokens."
        )

    def is_patches(self, value, source):
        """A convolution's output `[B, D, h, w]`, read as `[B, h·w, D]`."""
        conv = self.nodes[value.origin] if isinstance(value.origin, int) else {}
        if conv.get("op") != "conv2d" or not value.is_laid_out(source.flatten(2).transpose(1, 2)):
            return False
        kernel = list(self.tensors[f"{conv['param']}.weight"].shape[2:])
        return conv["stride"] == kernel and conv.get("padding") == [0, 0] and conv["groups"] == 1

    def order(self, value):
        """How a value has the axes of a node's output, where it is that output with its axes in another order: tokens
        `[S, B, D]`, as PyTorch's layers have them without `batch_first`; an image `[B, H, W, C]`."""
        if not isinstance(value, Value) or isinstance(value.origin, str):
            return None
        source = counted(*self.whole(value.origin).shape)
        orders = (order for order in (TURNED, CHANNELS_LAST) if order.fits(source))
        return next((order for order in orders if value.is_laid_out(order.put(source))), None)

    # Tensors

    def param(self, path):
        """The prefix under which the graph finds a module's tensors: its path, or that of the module whose
        weight it shares."""
        owner = self.names.get(f"{path}.weight", f"{path}.weight").removesuffix(".weight")
        if owner != path and f"{path}.bias" in self.tensors:
            raise Refused(f"it shares its weight with {owner} and has a bias of its own. Leave the bias out.")
        return owner

    def rename(self, old, new):
        if old in self.tensors:
            self.tensors[new] = self.tensors.pop(old)
            self.renamed[old] = new

    # What torch.fx meets

    def run_node(self, node):
        try:
            return super().run_node(node)
        except Refused as reason:
            place = node.target if node.op == "call_module" else node.name
            raise Refused(f"at {place}: {reason}") from None

    def placeholder(self, target, args, kwargs):
        sample = next(node.target for node in self.module.graph.nodes if node.op == "placeholder")
        return Value(self.example, None, counted(*self.example.shape)) if target == sample else None

    def get_attr(self, target, args, kwargs):
        real = self.fetch_attr(target)
        if target in self.names:
            return Value(real.detach(), self.names[target], counted(*real.shape))
        return real

    def call_module(self, target, args, kwargs):
        return self.of_module(target, self.fetch_attr(target), args, kwargs)

    def call_method(self, target, args, kwargs):
        return self.of_call(target, getattr(torch.Tensor, target), args, kwargs)

    def call_function(self, target, args, kwargs):
        return self.of_call(target.__name__, target, args, kwargs)

    def of_call(self, name, function, args, kwargs):
        """A function or method. Methods that work in place (`add_`) go by the name of the function."""
        name = name.strip("_")
        if name in ASSERTIONS:
            return None
        values = [arg for arg in flat([*args, *kwargs.values()]) if isinstance(arg, Value)]
        if not values or name == "getitem" and isinstance(args[0], tuple):
            return function(*args, **kwargs)
        if name in ("size", "dim", "getattr"):
            return function(*map(real_of, args), **kwargs)
        if name in LAYOUTS and isinstance(args[0], Value):
            return args[0].moved(lambda x: function(x, *args[1:], **kwargs))
        if name not in CALLS:
            advice = ADVICE.get(name, "Write it with the layers of docs/reference/graph-ops.md.")
            raise Refused(f"the function {name} is no operation of a graph. {advice}")
        order = self.order(values[0]) if name in POINTWISE else None
        if order is None:
            return CALLS[name](self, function, *args, **kwargs)
        # A parameter goes along with the last axis, or it is no factor of channels.
        args = [arg.moved(order.back) if is_node(arg) else arg for arg in args]
        return CALLS[name](self, function, *args, **kwargs).moved(order.put)

    def of_module(self, path, module, args, kwargs):
        kind, x = kind_of(module), args[0]
        if isinstance(module, PASSED_OVER):
            return x
        if isinstance(module, nn.Flatten):
            return x.moved(module)
        if isinstance(module, nn.Embedding) and not isinstance(x, Value):
            # Rows of a table of positions: they do not depend on the sample.
            rows = counted(*module.weight.shape)[x.cpu()]
            return Value(module(x).detach(), self.names[f"{path}.weight"], rows)
        if kind in MODULES:
            return MODULES[kind](self, path, module, *args, **kwargs)
        if kind not in FIELDS:
            raise Refused(
                f"{type(module).__name__} is no operation of a graph. Write it with the layers of "
                "docs/reference/graph-ops.md."
            )
        real, order = module(real_of(x)).detach(), self.order(x)
        fields = FIELDS[kind](self.param(path), module)
        if order is None or order is CHANNELS_LAST and kind not in OF_CHANNELS:
            return self.unary(fields, x, real)
        return self.unary(fields, x.moved(order.back), order.back(real)).moved(order.put)


def is_node(value):
    """Whether a value is what a node puts out, or the sample."""
    return isinstance(value, Value) and not isinstance(value.origin, str)


def bridge(value, source):
    """The node that makes this layout of a node's output, where there is one."""
    if source.ndim > 2 and value.is_laid_out(source.flatten(1)):
        return {"op": "flatten"}
    if source.ndim == 3 and value.is_laid_out(source[:, 0]):
        return {"op": "select_token", "position": "first"}
    if source.ndim == 3 and value.is_laid_out(source[:, -1]):
        return {"op": "select_token", "position": "end"}
    if source.ndim == 4 and value.is_laid_out(source.flatten(2).transpose(1, 2)):
        return {"op": "to_tokens"}
    return part_of(value, source) if source.ndim in (2, 3) and value.index.ndim == source.ndim else None


def part_of(value, source):
    """The node of one of several equal parts of the channels."""
    width, wide = source.shape[-1], value.index.shape[-1]
    if wide == 0 or width % wide or wide == width:
        return None
    parts = source.split(wide, -1)
    found = (at for at, part in enumerate(parts) if value.is_laid_out(part))
    return next(({"op": "split", "parts": len(parts), "part": at} for at in found), None)
