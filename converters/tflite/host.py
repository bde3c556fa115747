"""LiteRT in a process of its own: python -m converters.tflite.host.

LiteRT does not verify a file before it follows the offsets in it: a damaged one can end the
process. Answers frames (`converters.processes.frames`): the first request names the file,
and its answer says what the file declares.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from converters.processes import frames
from converters.tflite.partitions import partitions_of

if TYPE_CHECKING:
    from ai_edge_litert.interpreter import Interpreter, SignatureRunner

THREADS = 2


def interpreter_of(path: str, kernels: str = "xnnpack", *, preserve: bool = False) -> Interpreter:
    """The interpreter of a file, its memory allocated; `kernels` is "xnnpack" or "reference".

    To `preserve` all tensors, so that they can be read after a run, rules out XNNPACK, which
    does not write its inner ones: LiteRT's own fast kernels stand in for it.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    fast = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES if preserve else OpResolverType.AUTO
    resolvers = {"xnnpack": fast, "reference": OpResolverType.BUILTIN_REF}
    interpreter = Interpreter(
        model_path=path,
        num_threads=THREADS,
        experimental_op_resolver_type=resolvers[kernels],
        experimental_preserve_all_tensors=preserve,
    )
    interpreter.allocate_tensors()
    return interpreter


def serve(
    path: str,
    kernels: str,
    answer: Callable[[bytes], object],
    take: Callable[[int], bytes],
    *,
    preserve: bool = False,
    entry: str = "",
) -> None:
    """Load the file, say what it declares, then run each request.

    `entry` is the signature that is run, "" that of the graph that the file opens at. The answer
    to a request is the outputs, or every computed tensor where they are preserved.
    """
    interpreter = interpreter_of(path, kernels, preserve=preserve)
    signature = _signature(interpreter, entry)
    declared = {**_declared(signature), "partitions": partitions_of(interpreter)}
    answer(frames.pack({"declared": declared}, {}))
    while True:
        _, inputs = frames.read(take)
        try:
            outputs = signature(**inputs)
            answer(frames.pack({}, _computed(interpreter) if preserve else outputs))
        except (RuntimeError, ValueError) as error:
            answer(frames.pack({"error": str(error)}, {}))


def _computed(interpreter: Interpreter) -> dict[str, np.ndarray]:
    """The numbers of every float or 8-bit tensor that an operation writes, by its name."""
    written = {int(i) for op in interpreter._get_ops_details() for i in op["outputs"]}
    found: dict[str, np.ndarray] = {}
    for detail in interpreter.get_tensor_details():
        name = detail["name"]
        if detail["index"] not in written or not name or name in found:
            continue
        values = interpreter.get_tensor(detail["index"])
        scale, zero = detail["quantization"]
        if scale:
            found[name] = ((values.astype(np.float32) - zero) * scale).astype(np.float32)
        elif values.dtype == np.float32:
            found[name] = values
    return found


SIGNATURE = "serving_default"
"""What the signature of the graph is called that a file opens at."""


def _signature(interpreter: Interpreter, entry: str) -> SignatureRunner:
    """The signature of that name; of a file with one signature the default is that."""
    known = list(interpreter.get_signature_list())
    wanted = entry or (known[0] if len(known) == 1 else SIGNATURE)
    if wanted not in known:
        raise ValueError(f"the file has no signature {wanted}, but {', '.join(known) or 'none'}")
    return interpreter.get_signature_runner(wanted)


def _declared(signature: SignatureRunner) -> dict[str, Any]:
    """For inputs and outputs: name -> [shape, numpy type]."""
    both = {"inputs": signature.get_input_details(), "outputs": signature.get_output_details()}
    return {
        side: {
            name: [[int(n) for n in detail["shape"]], np.dtype(detail["dtype"]).name]
            for name, detail in details.items()
        }
        for side, details in both.items()
    }


def main() -> None:
    """Serve on standard input and output, which nothing else may write to."""
    answer, take = frames.standard()

    import ai_edge_litert.interpreter  # noqa: F401 - loaded while there is no file yet

    asked, _ = frames.read(take)
    try:
        how = {"preserve": asked["preserve"], "entry": asked["entry"]}
        serve(asked["path"], asked["kernels"], answer, take, **how)
    except (RuntimeError, ValueError) as error:
        answer(frames.pack({"error": str(error)}, {}))


if __name__ == "__main__":
    main()
