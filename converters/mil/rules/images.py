"""Resizing and sampling of pictures."""

from __future__ import annotations

from converters.mil.rules.rule import (
    CHROMIUM,
    EP,
    FLOATS,
    CoreMlRule,
    RuledCall,
    dtypes,
    mil,
    ranks,
)

RESIZES = (
    *("crop", "resize_bilinear", "resize_nearest_neighbor"),
    *("upsample_bilinear", "upsample_nearest_neighbor"),
)
SAMPLE = f"{EP}gridsample_op_builder.cc"


def _other_batch(call: RuledCall) -> str | None:
    x, places = call.shape("x"), call.shape("coordinates")
    if not x or not places:
        return None
    if None not in (x[0], places[0]) and x[0] != places[0]:
        return f"coordinates of {places[0]} pictures for {x[0]}"
    return None


def _mirrored(call: RuledCall) -> str | None:
    aligned = call.number("align_corners", True)
    if call.text("padding_mode") == "reflection" and not aligned:
        return "reflection at the centres of the pixels at the edge"
    return None


RULES = (
    CoreMlRule(
        "resize-rank",
        "loader",
        RESIZES,
        (CHROMIUM, *mil("iOS15.image_resizing.upsample_bilinear")),
        "resizes and crops the last two of 3 to 5 axes",
        "a channel more",
        ranks(3),
    ),
    CoreMlRule(
        "resize-of-integers",
        "loader",
        RESIZES,
        (CHROMIUM, *mil("iOS15.image_resizing.upsample_bilinear")),
        "resizes and crops floats only",
        "a cast before and after",
        dtypes(FLOATS, "x"),
    ),
    CoreMlRule(
        "resample-rank",
        "loader",
        ("affine", "resample"),
        ("apple/coremltools#1372", SAMPLE, *mil("iOS15.image_resizing.resample")),
        "samples pictures of 4 axes, no volumes",
        "nothing: refused",
        ranks(4, 4),
    ),
    CoreMlRule(
        "resample-places",
        "loader",
        ("resample",),
        mil("iOS15.image_resizing.resample"),
        "wants coordinates of 4 axes",
        "PyTorch has the same limit",
        ranks(4, 4, "coordinates"),
    ),
    CoreMlRule(
        "resample-batch",
        "loader",
        ("resample",),
        mil("iOS15.image_resizing.resample"),
        "wants coordinates for each picture of a batch",
        "PyTorch has the same limit",
        _other_batch,
    ),
    CoreMlRule(
        "resample-reflection",
        "runtime",
        ("resample",),
        (SAMPLE, *mil("iOS15.image_resizing.resample")),
        "mirrors at the centres of the outermost pixels where PyTorch does at their edges, "
        "without align_corners",
        "places that are mirrored before",
        _mirrored,
    ),
)
