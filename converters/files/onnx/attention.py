"""Attention, as ONNX has it since version 23, in PyTorch's own whole operation."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from converters.files.onnx.call import Layer, NodeCall


def attention(call: NodeCall) -> Layer:
    read = call.read(
        is_causal=0,
        kv_num_heads=None,
        q_num_heads=None,
        qk_matmul_output_mode=0,
        scale=None,
        softcap=0.0,
        softmax_precision=None,
    )
    call.only()
    if read.softcap:
        raise call.refuse("softcap")
    if any(call.has(index) for index in (4, 5, 6)):
        raise call.refuse("keys and values of the past")
    if read.is_causal and call.has(3):
        raise call.refuse("a mask of its own, and a causal one")
    if call.rank() == 3 and not (read.q_num_heads and read.kv_num_heads):
        raise call.refuse("three dimensions, and no number of heads")
    operands = (0, 1, 2, 3) if call.has(3) else (0, 1, 2)
    return call.apply(
        _attention,
        *operands,
        heads=(read.q_num_heads, read.kv_num_heads) if call.rank() == 3 else None,
        causal=bool(read.is_causal),
        scale=read.scale,
    )


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None = None,
    *,
    heads: tuple[int, int] | None,
    causal: bool,
    scale: float | None,
) -> Tensor:
    if heads is not None:
        query, key, value = (
            part.unflatten(-1, (count, -1)).transpose(1, 2)
            for part, count in ((query, heads[0]), (key, heads[1]), (value, heads[1]))
        )
    if key.shape[1] != query.shape[1]:
        repeats = query.shape[1] // key.shape[1]
        key, value = (part.repeat_interleave(repeats, 1) for part in (key, value))
    if mask is not None and mask.shape[-1] < key.shape[-2]:
        raise RuntimeError("a mask that is shorter than the keys")
    found = F.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, is_causal=causal, scale=scale
    )
    return found if heads is None else found.transpose(1, 2).flatten(2)


def rotary_embedding(call: NodeCall) -> Layer:
    read = call.read(interleaved=0, num_heads=0, rotary_embedding_dim=0)
    operands = tuple(index for index in range(4) if call.has(index))
    return call.apply(
        _rotated,
        *operands,
        heads=read.num_heads,
        width=read.rotary_embedding_dim,
        interleaved=bool(read.interleaved),
    )


def _rotated(
    value: Tensor,
    cosine: Tensor,
    sine: Tensor,
    places: Tensor | None = None,
    *,
    heads: int,
    width: int,
    interleaved: bool,
) -> Tensor:
    """The first `width` of each head, turned by pairs; (batch, heads, time, size) inside."""
    flat = value.ndim == 3
    if flat:
        value = value.unflatten(-1, (heads, -1)).transpose(1, 2)
    width = width or value.shape[-1]
    turned, rest = value[..., :width], value[..., width:]
    if places is not None:
        cosine, sine = cosine[places], sine[places]
    cosine, sine = (part[..., : width // 2].unsqueeze(1) for part in (cosine, sine))
    if interleaved:
        left, right = turned[..., 0::2], turned[..., 1::2]
    else:
        left, right = turned.chunk(2, -1)
    real, other = cosine * left - sine * right, sine * left + cosine * right
    if interleaved:
        turned = torch.stack((real, other), -1).flatten(-2)
    else:
        turned = torch.cat((real, other), -1)
    found = torch.cat((turned, rest), -1)
    return found.transpose(1, 2).flatten(2) if flat else found
