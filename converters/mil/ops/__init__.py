"""Every operation that is executed, by subject. Imports torch."""

from __future__ import annotations

from converters.mil.ops import (
    conv_pool,
    elementwise,
    fill,
    gather_scatter,
    lists,
    normalise,
    quant,
    recurrent,
    reduce,
    resize,
    sample,
    shape,
    state,
)
from converters.mil.ops.signature import Op

OPS: dict[str, Op] = {
    **conv_pool.OPS,
    **elementwise.OPS,
    **fill.OPS,
    **gather_scatter.OPS,
    **lists.OPS,
    **normalise.OPS,
    **quant.OPS,
    **recurrent.OPS,
    **reduce.OPS,
    **resize.OPS,
    **sample.OPS,
    **shape.OPS,
    **state.OPS,
}
