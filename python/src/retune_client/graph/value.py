"""A traced tensor, by where its entries come from."""

from dataclasses import dataclass

import torch


class Refused(Exception):
    """What a graph cannot say, and what to do."""


@dataclass(eq=False)
class Value:
    """A tensor of the traced model, as a rearrangement of what one node puts out, or of one parameter.

    `index[i] = j`: entry i is entry j of the origin. It goes through the model's own views, so a layout is
    recognised by what it is, whatever calls made it."""

    real: torch.Tensor
    origin: int | str | None  # a node's position, a parameter's name, or the sample itself
    index: torch.Tensor

    def moved(self, how):
        """The value after an operation that only rearranges, or the several that it splits into."""
        real, index = how(self.real), how(self.index)
        if isinstance(real, (tuple, list)):
            return tuple(Value(part, self.origin, at) for part, at in zip(real, index, strict=True))
        return Value(real, self.origin, index)

    def is_laid_out(self, expected):
        return self.index.shape == expected.shape and torch.equal(self.index, expected)


@dataclass(frozen=True, eq=False)
class Order:
    """Axes in another order than a node puts them out."""

    axes: tuple
    inverse: tuple

    def fits(self, tensor):
        return tensor.ndim == len(self.axes)

    def put(self, tensor):
        return tensor.permute(self.axes)

    def back(self, tensor):
        return tensor.permute(self.inverse)


TURNED = Order((1, 0, 2), (1, 0, 2))
CHANNELS_LAST = Order((0, 2, 3, 1), (0, 3, 1, 2))


def counted(*shape):
    return torch.arange(torch.Size(shape).numel()).view(shape)


def turned(value):
    return value.moved(lambda part: part.transpose(0, 1))


def heads_of(index, heads):
    """Tokens `[B, S, D]` as an attention reads them, `[B, heads, S, D / heads]`."""
    batch, length, width = index.shape
    return index.reshape(batch, length, heads, width // heads).transpose(1, 2)


def pair(size):
    return [size, size] if isinstance(size, int) else list(size)


def flat(args):
    """The arguments of a call, one by one."""
    for arg in args:
        if isinstance(arg, (tuple, list)):
            yield from flat(arg)
        else:
            yield arg


def real_of(arg):
    return arg.real if isinstance(arg, Value) else arg
