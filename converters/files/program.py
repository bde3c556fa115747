"""A program of `torch.export.save` (.pt2), as a module."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from converters.files.archive import harmless_copy
from converters.files.example import described, names_of_inputs, unsaid
from converters.files.request import FileRequest, InputExample
from converters.processes import scratch
from model_defs.errors import BadArtifact, BadSpec
from model_defs.spec import ModelSpec


def read(request: FileRequest, notes: Sequence[str] = (), called: Sequence[str] = ()) -> ModelSpec:
    """The specification of a saved program; sizes that it leaves open are those of its example.

    `called` are its inputs' names, where it has others. Raises BadArtifact for a damaged file, or
    one that is to be trusted first, BadSpec for sizes that it does not take.
    """
    # PyTorch warns of its own code whenever a program's module is copied, as passes do.
    warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)`", FutureWarning)
    program = load(request.path, trust_pickle=request.trust_pickle)
    module = Positional(program)
    names, tensors = _inputs(program, request)
    said = request.of(tuple(names))
    examples = [said.get(name, _like(one)) for name, one in zip(names, tensors, strict=True)]
    example = [
        own.detach().clone() if name not in said and not own.is_floating_point() else one.tensor()
        for name, own, one in zip(names, tensors, examples, strict=True)
    ]
    if len(called) == len(names):
        names = names_of_inputs(called)
    inputs = dict(zip(names, example, strict=True))
    return described(request.path, module, inputs, [*notes, *unsaid(examples)])


def _like(tensor: torch.Tensor) -> InputExample:
    """Of the program's own example its sizes: it may be zeros."""
    own = InputExample.of(tensor)
    return replace(own, low=None, high=None) if own.dtype == "float32" else own


def load(path: Path, *, trust_pickle: bool) -> Any:
    """The ExportedProgram of a file."""
    logger = logging.getLogger("torch.export.pt2_archive._package")
    before = logger.level
    with scratch.temporary() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        copy = harmless_copy(path, folder, trust_pickle=trust_pickle)
        logger.setLevel(logging.CRITICAL)
        try:
            return torch.export.load(copy)
        except Exception as error:  # of a file of another version, the loader raises anything
            said = (str(error).strip().splitlines() or [""])[0]
            raise BadArtifact(
                f"the program cannot be loaded: {type(error).__name__}: {said}",
                where=str(path),
                do=f"save it again with PyTorch {torch.__version__.partition('+')[0]}",
            ) from error
        finally:
            logger.setLevel(before)


class Positional(nn.Module):
    """A program's module, called with its tensors by position; what else it takes is as it was."""

    is_of_one_size = True  # see converters.sizes

    def __init__(self, program: Any) -> None:
        super().__init__()
        self.program = program.module(check_guards=False)
        _drop_checks(self.program)
        for name in ("train", "eval"):  # which refuse, there: it is in the mode it was exported in
            vars(self.program).pop(name, None)
        arguments, keywords = program.example_inputs or ((), {})
        self._leaves, self._structure = pytree.tree_flatten((tuple(arguments), dict(keywords)))

    def forward(self, *tensors: torch.Tensor) -> Any:
        given = iter(tensors)
        leaves = [next(given) if torch.is_tensor(leaf) else leaf for leaf in self._leaves]
        arguments, keywords = pytree.tree_unflatten(leaves, self._structure)
        return self.program(*arguments, **keywords)


def _drop_checks(module: Any) -> None:
    """Without the checks of types, which fail where what was float64 or half is float32."""
    for part in module.modules():
        if isinstance(part, torch.fx.GraphModule):
            checks = part.graph.find_nodes(
                op="call_function", target=torch.ops.aten._assert_tensor_metadata.default
            )
            for node in checks:
                part.graph.erase_node(node)
            part.recompile()


def _inputs(program: Any, request: FileRequest) -> tuple[list[str], list[torch.Tensor]]:
    """The tensors that the program was exported with, and their names."""
    if program.example_inputs is None:
        raise BadSpec(
            "the program was saved without its example inputs",
            where=str(request.path),
            do="save it with the example that torch.export.export was given",
        )
    arguments, keywords = program.example_inputs
    found = pytree.tree_flatten((tuple(arguments), dict(keywords)))[0]
    tensors = [leaf for leaf in found if torch.is_tensor(leaf)]
    users = [
        spec.arg for spec in program.graph_signature.input_specs if spec.kind.name == "USER_INPUT"
    ]
    names = names_of_inputs([arg.name for arg in users if type(arg).__name__ == "TensorArgument"])
    return names, tensors
