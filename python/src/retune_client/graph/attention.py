"""Attention: torch's function, its module and its encoder."""

import torch
import torch.nn.functional as F

from .value import Refused, Value, counted, heads_of, turned


def hidden_by(mask, hides):
    """What a constant mask hides, `[S, S]`; `hides` is what an entry of a boolean mask means by True."""
    if isinstance(mask, Value) or mask.ndim != 2:
        raise Refused("an attention reads a mask of the sample. A graph masks padding by the ids: leave the mask out.")
    if mask.dtype == torch.bool:
        return mask if hides else ~mask
    hidden = mask.isinf()
    if mask[~hidden].any():
        raise Refused("an attention reads a mask that weighs positions. A graph hides the future or nothing.")
    return hidden


def hides_the_future(hidden):
    if hidden is not None and not torch.equal(hidden, torch.ones_like(hidden).triu(1)):
        raise Refused("an attention reads a mask that hides something else than the future.")
    return hidden is not None


def heads_origin(reader, value, heads):
    """The node of `[B, S, heads · d]` that this value reads by heads, and the third of it where q, k and v are one."""
    whole = reader.reals[value.origin] if isinstance(value.origin, int) else None
    if whole is not None and whole.ndim == 3:
        source, width = counted(*whole.shape), heads * value.real.shape[-1]
        if whole.shape[-1] == width and value.is_laid_out(heads_of(source, heads)):
            return value.origin, None
        for third in range(3) if whole.shape[-1] == 3 * width else ():
            if value.is_laid_out(heads_of(source[..., third * width :][..., :width], heads)):
                return value.origin, third
    raise Refused("an attention reads something else than [B, heads, S, d] of a layer, the heads in their order.")


def dot_product_attention(reader, function, query, key, value, attn_mask=None, is_causal=False, **named):
    hidden = None if attn_mask is None else hidden_by(attn_mask, hides=False)
    return attended(reader, [query, key, value], is_causal or hides_the_future(hidden), named.get("scale"))


def attended(reader, parts, causal, scale=None):
    """The node of an attention; `parts` and the result are `[B, heads, S, d]`, or `[B, S, d]` of one head."""
    single = parts[0].real.ndim == 3
    if single:
        parts = [part.moved(lambda x: x[:, None]) for part in parts]
    heads, kv_heads = parts[0].real.shape[1], parts[1].real.shape[1]
    found = [heads_origin(reader, part, part.real.shape[1]) for part in parts]
    origins, thirds = [origin for origin, _ in found], tuple(third for _, third in found)
    read = origins
    if thirds == (0, 1, 2) and len(set(origins)) == 1:
        read = [origins[0]]
    elif thirds != (None, None, None):
        raise Refused("an attention reads parts of a fused layer in another order than [q | k | v].")

    reals = [part.real for part in parts]
    real = F.scaled_dot_product_attention(*reals, is_causal=causal, scale=scale, enable_gqa=heads != kv_heads)
    batch, _, length, size = real.shape
    fields = {"op": "attention", "heads": heads}
    fields |= {"kv_heads": None if kv_heads == heads else kv_heads, "causal": causal or None}
    result = reader.emit(fields, read, real, heads_of(counted(batch, length, heads * size), heads))
    return result.moved(lambda x: x[:, 0]) if single else result


def multihead(reader, path, module, query, key, value, key_padding_mask=None, attn_mask=None, **named):
    """nn.MultiheadAttention: its fused `in_proj_weight` is written as `in_proj.weight`, as a graph names tensors."""
    if not module._qkv_same_embed_dim or module.bias_k is not None or module.add_zero_attn:
        raise Refused(f"{path} has kdim, vdim, add_bias_kv or add_zero_attn, which a graph lacks.")
    if key_padding_mask is not None:
        raise Refused(f"{path} reads a key_padding_mask. Trace the model without it.")
    if not (query is key and key is value):
        raise Refused(f"{path} attends to another sequence. A graph has self-attention.")
    x = query if module.batch_first else turned(query)
    for part in ("weight", "bias"):
        reader.rename(f"{path}.in_proj_{part}", f"{path}.in_proj.{part}")
    fused = F.linear(x.real, module.in_proj_weight, module.in_proj_bias).detach()
    fused = reader.unary({"op": "linear", "param": f"{path}.in_proj"}, x, fused)
    thirds = fused.moved(lambda part: part.chunk(3, -1))
    parts = [third.moved(lambda part: heads_of(part, module.num_heads)) for third in thirds]
    hidden = None if attn_mask is None else hidden_by(attn_mask, hides=True)
    mixed = attended(reader, parts, hides_the_future(hidden))
    mixed = mixed.moved(lambda part: part.transpose(1, 2).flatten(2))
    out = reader.of_module(f"{path}.out_proj", module.out_proj, [mixed], {})
    return out if module.batch_first else turned(out), None
