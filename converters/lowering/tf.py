"""The parts of TensorFlow that we emit graphs with, without its public package.

`import tensorflow` loads keras, scikit-learn and the whole public API (3.5 s here); the graph
builder and the operations alone take 1 s. TensorFlow is pinned, so its private modules are
ours to use. Importing this module is heavy: only a conversion's own process does it.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from types import ModuleType
from typing import Any


def _stand_in(name: str) -> ModuleType:
    """A package that finds the same submodules but has not run its `__init__`.

    Asked for anything else, it steps aside for the real one.
    """
    spec = importlib.util.find_spec(name)
    if spec is None or spec.submodule_search_locations is None:
        raise ModuleNotFoundError(f"No module named '{name}'", name=name)
    package = ModuleType(name)
    package.__path__ = list(spec.submodule_search_locations)
    package.__spec__ = spec

    def real(attribute: str) -> Any:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        if sys.modules.get(name) is package:
            del sys.modules[name]
        return getattr(importlib.import_module(name), attribute)

    package.__getattr__ = real  # type: ignore[method-assign]
    return package


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if sys.modules.get("tensorflow") is None:  # or hidden from coremltools
    sys.modules["tensorflow"] = _stand_in("tensorflow")

from tensorflow.core.framework.graph_pb2 import GraphDef  # noqa: E402
from tensorflow.core.framework.node_def_pb2 import NodeDef  # noqa: E402
from tensorflow.python.framework.constant_op import constant  # noqa: E402
from tensorflow.python.framework.dtypes import as_dtype, float32, int32  # noqa: E402
from tensorflow.python.framework.errors_impl import OpError  # noqa: E402
from tensorflow.python.framework.ops import Graph  # noqa: E402
from tensorflow.python.framework.tensor import Tensor  # noqa: E402
from tensorflow.python.framework.tensor_util import MakeNdarray as make_ndarray  # noqa: E402, N813
from tensorflow.python.framework.tensor_util import (  # noqa: E402
    constant_value,
    make_tensor_proto,
)
from tensorflow.python.ops import (  # noqa: E402
    array_ops,
    gen_array_ops,
    gen_image_ops,
    gen_math_ops,
    gen_nn_ops,
)

__all__ = [
    "Graph",
    "GraphDef",
    "NodeDef",
    "OpError",
    "Tensor",
    "array_ops",
    "as_dtype",
    "constant",
    "constant_value",
    "float32",
    "gen_array_ops",
    "gen_image_ops",
    "gen_math_ops",
    "gen_nn_ops",
    "int32",
    "make_ndarray",
    "make_tensor_proto",
]
