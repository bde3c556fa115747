"""Small constants of a Core ML program, stored once: coremltools writes some for each operation."""

from __future__ import annotations

from typing import Any


def share(model: Any) -> None:
    """Makes operations that have equal constants in the program read the same one.

    Before: strides_0 = const([1, 1]) -> conv_0; strides_1 = const([1, 1]) -> conv_1
    After:  strides_0 = const([1, 1]) -> conv_0, conv_1
    Blocked for constants in weight.bin, and for those that a block returns.
    """
    for function in model.mlProgram.functions.values():
        for block in function.block_specializations.values():
            _share(block, {}, {})


def _share(block: Any, known: dict[bytes, str], names: dict[str, str]) -> None:
    """`known`: a value -> the constant that has it; `names`: a constant -> the one in its place."""
    first, renamed = dict(known), dict(names)
    kept = []
    for operation in block.operations:
        for argument in operation.inputs.values():
            for binding in argument.arguments:
                if binding.name in renamed:
                    binding.name = renamed[binding.name]
        for inner in operation.blocks:
            _share(inner, first, renamed)
        if _is_immediate(operation):
            (output,) = operation.outputs
            value = operation.attributes["val"].SerializeToString(deterministic=True)
            same = first.setdefault(value, output.name)
            if same != output.name and output.name not in block.outputs:
                renamed[output.name] = same
                continue
        kept.append(operation)
    block.outputs[:] = [renamed.get(name, name) for name in block.outputs]
    if len(kept) < len(block.operations):
        copies = [type(operation).FromString(operation.SerializeToString()) for operation in kept]
        del block.operations[:]
        block.operations.extend(copies)


def _is_immediate(operation: Any) -> bool:
    if operation.type != "const":
        return False
    return str(operation.attributes["val"].WhichOneof("value")) == "immediateValue"
