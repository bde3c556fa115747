"""A SavedModel to TF.js with the official converter, in its own environment.

    python -m benchmarks.studies.peers.plain_tensorflowjs SAVED_MODEL DIRECTORY

tensorflowjs imports JAX and TensorFlow Decision Forests, which a graph model does not need and
which do not install beside it: empty modules stand in for them.
"""

from __future__ import annotations

import sys
from types import ModuleType

ABSENT = ("jax", "jax.experimental", "jax.experimental.jax2tf", "tensorflow_decision_forests")


def convert(saved_model: str, directory: str) -> None:
    """Write `directory/model.json` and its shards."""
    import tensorflow  # noqa: F401 - looks for JAX itself, before the stand-ins are there

    for name in ABSENT:
        module = sys.modules.setdefault(name, ModuleType(name))
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)
    from tensorflowjs.converters import tf_saved_model_conversion_v2 as converter

    converter.convert_tf_saved_model(saved_model, directory)


if __name__ == "__main__":
    convert(*sys.argv[1:3])
