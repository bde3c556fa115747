"""The ONNX graph between PyTorch and TensorFlow: its values, and which of PyTorch's they are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from model_defs.errors import BackendUnavailable

SAME = 1e-4
"""What two runtimes may differ by in float32, as a share of a value's largest number."""
SAMPLES = 64
"""Numbers that are compared before whole arrays are."""


def values(path: Path, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every float value of an ONNX file, computed by ONNX Runtime without optimisations.

    Raises BackendUnavailable without ONNX Runtime.
    """
    try:
        import onnxruntime as ort
    except ImportError as error:
        raise BackendUnavailable(
            "ONNX Runtime is not installed", do="pip install onnxruntime"
        ) from error
    import onnx

    model = onnx.load(path)
    graph = onnx.shape_inference.infer_shapes(model).graph
    floats = [v for v in graph.value_info if v.type.tensor_type.elem_type == onnx.TensorProto.FLOAT]
    model.graph.output.extend(v for v in floats if v.name not in inputs)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    found = session.run(names, {name: np.ascontiguousarray(a) for name, a in inputs.items()})
    return dict(zip(names, found, strict=True))


def pairs(
    onnx_values: Mapping[str, np.ndarray], torch_values: Mapping[str, np.ndarray]
) -> dict[str, str]:
    """ONNX name -> PyTorch's name, where the numbers prove that they are the same value.

    The exporter keeps no names. Of several equal values the first that is free is taken: they
    are equal, so that each is as good a reference.
    """
    by_shape: dict[tuple[int, ...], list[str]] = {}
    for name, array in torch_values.items():
        by_shape.setdefault(array.shape, []).append(name)
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name, array in onnx_values.items():
        equal = [
            other for other in by_shape.get(array.shape, ()) if _same(array, torch_values[other])
        ]
        if equal:
            found[name] = next((other for other in equal if other not in taken), equal[0])
            taken.add(found[name])
    return found


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    step = max(1, a.size // SAMPLES)
    return _close(a.ravel()[::step], b.ravel()[::step]) and _close(a, b)


def _close(a: np.ndarray, b: np.ndarray) -> bool:
    if not a.size:
        return False
    return bool(np.abs(a - b).max() <= SAME * max(float(np.abs(b).max()), 1e-6))
