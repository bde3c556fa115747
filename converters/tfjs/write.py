"""The files of a TF.js graph model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from google.protobuf.json_format import MessageToDict

from converters.api import Port
from converters.encodings import Encoding
from converters.lowering.tf import GraphDef, NodeDef
from converters.tfjs.storing import Storing, constants
from model_defs.errors import UnsupportedOperation

# As TF.js's own converter cuts them, for the sake of browsers' caches.
SHARD_BYTES = 4 * 1024 * 1024
MODEL = "model.json"


def written(
    graph: GraphDef, inputs: Sequence[Port], outputs: Sequence[Port], storing: Storing
) -> dict[str, bytes]:
    """`model.json` and its shards, by file name; the same graph gives the same bytes."""
    specs, blobs = [], []
    for name, array in constants(graph).items():
        encoding = storing.encoding_of(array)
        specs.append(_weight_spec(name, array, encoding))
        blobs.append(_stored(array, encoding).tobytes())
    shards = shards_of(b"".join(blobs), 1)
    model = {
        "format": "graph-model",
        "generatedBy": "mlship",
        "convertedBy": None,
        "signature": {"inputs": _signature(inputs), "outputs": _signature(outputs)},
        "modelTopology": _topology(graph),
        "weightsManifest": [{"paths": list(shards), "weights": specs}],
    }
    return {MODEL: json.dumps(model, separators=(",", ":")).encode(), **shards}


def shards_of(data: bytes, group: int) -> dict[str, bytes]:
    """The files of a group of weights, by name.

    They are cut anywhere, within a weight as well: TF.js joins a group's before it reads them.
    """
    chunks = [data[i : i + SHARD_BYTES] for i in range(0, len(data), SHARD_BYTES)]
    of = len(chunks)
    return {f"group{group}-shard{i}of{of}.bin": chunk for i, chunk in enumerate(chunks, 1)}


def _stored(array: np.ndarray, encoding: Encoding | None) -> np.ndarray:
    if encoding is None:
        return array
    return encoding.codes(array) if encoding.is_grid else array.astype(np.float16)


def _weight_spec(name: str, array: np.ndarray, encoding: Encoding | None) -> dict[str, Any]:
    spec = {"name": name, "shape": list(array.shape), "dtype": array.dtype.name}
    if encoding is not None:
        grid = {"scale": encoding.scales[0], "min": encoding.minimum}
        affine = grid if encoding.is_grid else {}
        spec["quantization"] = {"dtype": encoding.dtype, **affine}
    return spec


def _signature(ports: Sequence[Port]) -> dict[str, Any]:
    kinds = {"float32": "DT_FLOAT", "int32": "DT_INT32", "bool": "DT_BOOL"}
    return {
        port.stored_as: {
            "name": f"{port.name}:0",
            "dtype": kinds[port.dtype],
            "tensorShape": {"dim": [{"size": str(n)} for n in port.shape]},
        }
        for port in ports
    }


def _topology(graph: GraphDef) -> dict[str, Any]:
    nodes = []
    for node in graph.node:
        # TF.js would say so in the browser only, when it runs the node.
        if node.op not in SUPPORTED:
            raise UnsupportedOperation(f"TF.js does not have {node.op}", where=node.name)
        nodes.append(_plain(node))
    versions = {"producer": graph.versions.producer}
    return {"node": nodes, "library": {}, "versions": versions}


def _plain(node: NodeDef) -> dict[str, Any]:
    """A node without what TF.js does not read: of a constant the manifest says all but its name."""
    bare = NodeDef(name=node.name, op=node.op)
    if node.op != "Const":
        bare.CopyFrom(node)
    # TensorFlow writes out every attribute, the defaults as well.
    for name in [n for n, value in bare.attr.items() if _is_default(n, value)]:
        del bare.attr[name]
    plain: dict[str, Any] = MessageToDict(bare)
    if "attr" in plain:  # a protobuf map, in another order in every process
        plain["attr"] = dict(sorted(plain["attr"].items()))
    return plain


def _is_default(name: str, value: Any) -> bool:
    """Whether an attribute is what TF.js takes where it is not given."""
    return name == "use_cudnn_on_gpu" or (name == "explicit_paddings" and not value.list.i)


SUPPORTED = frozenset(
    """
    Abs Add AddN AddV2 All Any ArgMax ArgMin AvgPool BatchMatMul BatchMatMulV2 BatchToSpaceND
    BiasAdd Cast Ceil ClipByValue ConcatV2 Const Conv2D Conv2DBackpropInput Cos Cosh CropAndResize
    Cumsum DepthToSpace DepthwiseConv2dNative Elu Equal Erf Exp ExpandDims Expm1 Fill Floor FloorDiv
    FloorMod FusedDepthwiseConv2dNative Gather GatherNd GatherV2 Greater GreaterEqual Identity
    LeakyRelu Less LessEqual Log Log1p LogSoftmax LogicalAnd LogicalNot LogicalOr MatMul Max MaxPool
    Maximum Mean Min Minimum MirrorPad Mul Neg NotEqual OneHot Pack Pad PadV2 Placeholder Pow Prelu
    Prod Range RealDiv Reciprocal Relu Relu6 Reshape ResizeBilinear ResizeNearestNeighbor Reverse
    ReverseV2 Round Rsqrt ScatterNd SelectV2 Selu Shape Sigmoid Sign Sin Sinh Slice Softmax Softplus
    SpaceToBatchND Split SplitV Sqrt Square SquaredDifference Squeeze StridedSlice Sub Sum Tan Tanh
    Tile TopKV2 Transpose Unpack ZerosLike _FusedConv2D _FusedMatMul
    """.split()  # noqa: SIM905
)
"""The operations that tfjs-converter 4.22 maps and its WASM backend executes."""
