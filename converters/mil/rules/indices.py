"""Reading at indices."""

from __future__ import annotations

from converters.mil.rules.rule import EP, NUMBERS, CoreMlRule, RuledCall, dtypes, mil

GATHERS = ("gather", "gather_along_axis", "gather_nd")
SCATTERS = ("scatter", "scatter_along_axis", "scatter_nd")
GATHER, GATHER_ND = f"{EP}gather_op_builder.cc", f"{EP}gather_nd_op_builder.cc"
CHECKED = 7
"""The opset of iOS 17, from which on negative indices are outside."""
WHOLE = ("int8", "int16", "int32", "uint8", "uint16")


def _data(call: RuledCall) -> str:
    return "data" if call.type in SCATTERS else "x"


def _no_validation(call: RuledCall) -> str | None:
    if call.version >= CHECKED and not call.given("validate_indices"):
        return "validate_indices is left out"
    return None


def _outside(call: RuledCall) -> str | None:
    indices, shape = call.array("indices"), call.shape(_data(call))
    if indices is None or not indices.size or not shape:
        return None
    low = call.type == "gather_nd" or call.version >= CHECKED
    if call.type.endswith("_nd"):
        first = call.number("batch_dims", 0)
        sizes = list(shape[first : first + indices.shape[-1]]) if indices.ndim else []
        columns = [(n, indices[..., i]) for i, n in enumerate(sizes)]
    else:
        axis = call.number("axis", 0)
        columns = [(shape[axis], indices)] if -len(shape) <= axis < len(shape) else []
    for size, places in columns:
        if size is None:
            continue
        if places.max() >= size or places.min() < (0 if low else -size):
            return f"indices from {places.min()} to {places.max()} on an axis of {size}"
    return None


def _scalar_of_five_axes(call: RuledCall) -> str | None:
    if call.rank("x") == 5 and call.rank("indices") == 0:
        return "one index on a tensor of 5 axes"
    return None


def _too_many(call: RuledCall) -> str | None:
    shape, axis = call.shape("x"), call.number("axis", -1)
    k = call.number("k", 1)
    if not shape or not -len(shape) <= axis < len(shape):
        return None
    size = shape[axis]
    return f"the {k} largest of {size}" if size is not None and k > size else None


def _computed_places(call: RuledCall) -> str | None:
    return "the indices are computed" if call.computed("indices") else None


def _depth(call: RuledCall) -> str | None:
    indices, rank = call.shape("indices"), call.rank(_data(call))
    first = call.number("batch_dims", 0)
    if indices and rank and indices[-1] is not None and indices[-1] + first > rank:
        return f"tuples of {indices[-1]} indices into {rank - first} axes"
    return None


RULES = (
    CoreMlRule(
        "gather-of-truths",
        "loader",
        GATHERS,
        ("microsoft/onnxruntime#28598", *mil("iOS15.scatter_gather.gather")),
        "gathers numbers only, no truth values",
        "a cast to int32 and back",
        dtypes((*NUMBERS, *WHOLE), "x"),
    ),
    CoreMlRule(
        "index-type",
        "loader",
        (*GATHERS, *SCATTERS),
        mil("iOS16.scatter_gather.gather", "iOS17.scatter_gather.gather"),
        "takes indices of int32 and smaller integers",
        "int32",
        dtypes(WHOLE, "indices"),
    ),
    CoreMlRule(
        "index-outside",
        "loader",
        (*GATHERS, *SCATTERS),
        ("crbug/339087333", GATHER_ND, *mil("iOS17.scatter_gather.gather")),
        "leaves undefined what an index outside gives; a negative one is outside from iOS 17 "
        "on, in gather_nd always",
        "indices within, counted from the beginning",
        _outside,
    ),
    CoreMlRule(
        "validate-indices",
        "loader",
        (*GATHERS, *SCATTERS),
        ("microsoft/onnxruntime#28598",),
        "wants validate_indices from iOS 17 on, whatever its documentation says",
        "validate_indices, always",
        _no_validation,
    ),
    CoreMlRule(
        "gather-scalar-of-five-axes",
        "loader",
        ("gather",),
        ("crbug/391672283", "microsoft/onnxruntime#28278"),
        "fails ('Invalid rank: 6') to take one index of a tensor of 5 axes",
        "a slice",
        _scalar_of_five_axes,
    ),
    CoreMlRule(
        "index-tuples",
        "loader",
        ("gather_nd", "scatter_nd"),
        (GATHER_ND, *mil("iOS16.scatter_gather.gather_nd")),
        "wants tuples of indices no longer than there are axes",
        "PyTorch has the same limit",
        _depth,
    ),
    CoreMlRule(
        "topk-count",
        "loader",
        ("topk",),
        mil("iOS15.tensor_operation.topk"),
        "finds the largest of as many as there are",
        "PyTorch has the same limit",
        _too_many,
    ),
    CoreMlRule(
        "gather-nd-computed",
        "unit",
        ("gather_nd",),
        ("microsoft/onnxruntime#28598",),
        "gives slice 0 for some shapes where gather_nd's indices are computed",
        "gather on one axis wherever the indexed axes follow one another; else a warning",
        _computed_places,
    ),
)
