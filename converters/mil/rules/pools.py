"""Pooling."""

from __future__ import annotations

from converters.mil.rules.rule import CHROMIUM, FLOATS, CoreMlRule, RuledCall, dtypes, mil, ranks

POOLS = ("avg_pool", "l2_pool", "max_pool")


def _overhang(call: RuledCall) -> str | None:
    if not call.number("ceil_mode", False) or call.number("exclude_padding_from_average", False):
        return None
    kernel, shape = call.numbers("kernel_sizes"), call.shape("x")
    axes = len(kernel)
    strides = call.numbers("strides") or [1] * axes
    pads = call.numbers("pad") if call.text("pad_type") == "custom" else []
    pads = pads or [0] * 2 * axes
    for axis, size in enumerate(shape[-axes:] if shape else [None] * axes):
        rest = None if size is None else size + sum(pads[2 * axis : 2 * axis + 2]) - kernel[axis]
        if rest is None or rest % strides[axis]:
            return "windows that hang over are divided by the whole kernel"
    return None


def _ceil_of_volume(call: RuledCall) -> str | None:
    if call.number("ceil_mode", False) and call.rank("x") == 5:
        return "ceil_mode with three axes"
    return None


def _ceil_of_same(call: RuledCall) -> str | None:
    if call.number("ceil_mode", False) and call.text("pad_type").startswith("same"):
        return f"ceil_mode with padding '{call.text('pad_type')}'"
    return None


def _ceil_uneven(call: RuledCall) -> str | None:
    pads = call.numbers("pad")
    if call.number("ceil_mode", False) and pads[::2] != pads[1::2]:
        return f"ceil_mode with more padding on one side than on the other: {pads}"
    return None


def _kernel_axes(call: RuledCall) -> str | None:
    rank, kernel = call.rank("x"), call.numbers("kernel_sizes")
    if rank is not None and kernel and len(kernel) != rank - 2:
        return f"a kernel of {len(kernel)} sizes over {rank - 2} spatial axes"
    return None


RULES = (
    CoreMlRule(
        "avg-pool-ceil",
        "runtime",
        ("avg_pool",),
        ("apple/coremltools#2772", "apple/coremltools#2844"),
        "with ceil_mode, divides a window that hangs over the data by the whole kernel",
        "the overhang is excluded as padding, or padded with zeros and the means rescaled",
        _overhang,
    ),
    CoreMlRule(
        "pool-ceil-of-volume",
        "loader",
        POOLS,
        mil("iOS15.pool.avg_pool", "iOS15.pool.max_pool"),
        "has ceil_mode with one and two spatial axes only",
        "zeros, or the last element again, as far as the last windows hang over",
        _ceil_of_volume,
    ),
    CoreMlRule(
        "pool-ceil-with-same",
        "loader",
        POOLS,
        mil("iOS15.pool.avg_pool"),
        "has ceil_mode with padding 'valid' and 'custom' only",
        "padding 'custom'",
        _ceil_of_same,
    ),
    CoreMlRule(
        "pool-ceil-uneven",
        "loader",
        POOLS,
        mil("iOS15.pool.avg_pool"),
        "has ceil_mode with the same padding before and after only",
        "a pad of its own before the pool",
        _ceil_uneven,
    ),
    CoreMlRule(
        "pool-rank",
        "loader",
        ("avg_pool", "max_pool"),
        (CHROMIUM, *mil("iOS15.pool.avg_pool")),
        "pools 3 to 5 axes, of which one to three are spatial",
        "one picture as a batch of one",
        ranks(3),
    ),
    CoreMlRule(
        "l2-pool-rank",
        "loader",
        ("l2_pool",),
        (CHROMIUM, *mil("iOS15.pool.l2_pool")),
        "pools squares over one or two spatial axes",
        "never written",
        ranks(3, 4),
    ),
    CoreMlRule(
        "pool-kernel-axes",
        "loader",
        POOLS,
        mil("iOS15.pool.avg_pool"),
        "wants a kernel size for each spatial axis",
        "one for each",
        _kernel_axes,
    ),
    CoreMlRule(
        "pool-of-integers",
        "loader",
        POOLS,
        (CHROMIUM, *mil("iOS15.pool.avg_pool")),
        "pools floats only",
        "a cast before and after",
        dtypes(FLOATS, "x"),
    ),
)
