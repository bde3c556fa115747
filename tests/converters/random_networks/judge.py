"""Nets side by side through every format, each output held to what float64 says of it."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
import torch
from torch import Tensor, nn

from converters import formats
from converters.api import Export, Program, Tensors
from converters.doubles import NOISE, roundings
from converters.export import export
from model_defs.errors import MlshipError, UnsupportedOperation
from model_defs.spec import ModelSpec, TensorSpec
from tests.converters.random_networks.warm import WarmConverter
from toolchain.recipes import pipeline, recipes

Drawn = tuple[nn.Module, Tensor]
"""A net in eval mode, and what it is fed."""

SHARE = 1e-5
"""Beside NOISE times what rounding moves a number, it may be off by this share of the largest."""
ONNX = "onnx"
"""Not a target: what our writer wrote, as ONNX Runtime computes it."""
KINDS = ("coreml", "tflite", "tfjs", ONNX)


@dataclass(frozen=True)
class Wrong:
    """A net (by its place in the batch) that is not equal to PyTorch somewhere, and how.

    Or one that is `refused` as a user's is: with the operation, its line and what to do.
    """

    place: int
    kind: str
    why: str
    refused: bool = False


class Several(nn.Module):
    """Nets side by side: one conversion for all of them."""

    def __init__(self, nets: Sequence[nn.Module]) -> None:
        super().__init__()
        self.nets = nn.ModuleList(nets)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return tuple(net(x) for net, x in zip(self.nets, inputs, strict=True))


def program_of(drawn: Sequence[Drawn], recipe: str) -> Program:
    """All nets as one program, after a recipe's passes."""
    several = Several([net for net, _ in drawn]).eval().requires_grad_(False)
    inputs = tuple(
        TensorSpec(f"x{i}", tuple(x.shape), "features", low=-3, high=3)
        for i, (_, x) in enumerate(drawn)
    )
    with torch.no_grad():
        results = several(*(x for _, x in drawn))
    outputs = tuple(
        TensorSpec(f"y{i}", tuple(y.shape), "features", tolerance=1e9)
        for i, y in enumerate(results)
    )
    spec = ModelSpec("random", lambda: several, inputs, outputs)
    return pipeline.run(Program(spec, several), recipes.find(recipe).load())


class Judge:
    """Warm converters of all formats; a context manager that ends them."""

    def __init__(self, kinds: Sequence[str] = KINDS) -> None:
        self.kinds = kinds
        self._coreml = WarmConverter("coreml")
        self._tensorflow = WarmConverter("tflite", "tfjs")

    def __enter__(self) -> Judge:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._coreml.close()
        self._tensorflow.close()

    @property
    def seconds(self) -> float:
        """CPU seconds so far, of all processes."""
        own = os.times()
        ended = own.user + own.system + own.children_user + own.children_system
        return ended + self._coreml.seconds + self._tensorflow.seconds

    def wrong(self, drawn: Sequence[Drawn], recipe: str = "fp32") -> list[Wrong]:
        """Those that some format computes otherwise than PyTorch, refuses, or cannot hold."""
        for warm in (self._coreml, self._tensorflow):
            if set(warm.formats) & set(self.kinds):
                warm.prepare()
        places = list(range(len(drawn)))
        return self._wrong(drawn, places, recipe, self.kinds)

    def _wrong(
        self, drawn: Sequence[Drawn], places: list[int], recipe: str, kinds: Sequence[str]
    ) -> list[Wrong]:
        found: list[Wrong] = []
        with tempfile.TemporaryDirectory(prefix="mlship-") as work:
            try:
                program = program_of([drawn[i] for i in places], recipe)
                exported = export(program, Path(work))
            except Exception as error:  # of which one, is found by halves
                return self._halved(drawn, places, recipe, kinds, "export", error)
            feed = {f"x{i}": drawn[place][1].numpy() for i, place in enumerate(places)}
            with torch.no_grad():
                results = program.module(*(drawn[place][1] for place in places))
            wanted = {f"y{i}": y.numpy() for i, y in enumerate(results)}
            with ThreadPoolExecutor(len(kinds)) as pool:  # they wait for processes of their own
                waiting = [(kind, pool.submit(self._ran, kind, exported, feed)) for kind in kinds]
                moved = roundings(program, feed, wanted)
            for kind, running in waiting:
                if error := running.exception():
                    found += self._halved(drawn, places, recipe, (kind,), kind, error)
                    continue
                got = running.result()
                beyond = misread(exported.onnx) if kind == ONNX else set[int]()
                for i, place in enumerate(places):
                    if i in beyond:
                        continue
                    name = f"y{i}"
                    if why := apart(got[name], wanted[name], moved.get(name)):
                        found.append(Wrong(place, kind, why))
        return found

    def _halved(
        self,
        drawn: Sequence[Drawn],
        places: list[int],
        recipe: str,
        kinds: Sequence[str],
        step: str,
        error: BaseException,
    ) -> list[Wrong]:
        if len(places) == 1:
            known = isinstance(error, MlshipError)
            refused = isinstance(error, UnsupportedOperation) and bool(error.where and error.do)
            return [Wrong(places[0], step, str(error) if known else repr(error), refused)]
        half = len(places) // 2
        parts = (places[:half], places[half:])
        return [wrong for part in parts for wrong in self._wrong(drawn, part, recipe, kinds)]

    def _ran(self, kind: str, exported: Export, feed: Tensors) -> dict[str, np.ndarray]:
        if kind == ONNX:
            return _onnx_runtime(exported.onnx, feed)
        formats.prepare_runner(kind)
        folder = exported.directory / kind
        folder.mkdir()
        warm = self._coreml if kind == "coreml" else self._tensorflow
        bare = dataclasses.replace(exported, graph=None)
        with warm.lock:
            artifact = warm.convert(kind, bare, folder)
        runner = formats.open_runner(artifact)
        try:
            return dict(runner.run(feed))
        finally:
            runner.close()


def misread(path: Path) -> set[int]:
    """The nets of a file that ONNX Runtime 1.23 computes otherwise than ONNX says.

    It divides the last windows of an average pool wrongly where padding counts, and one axis is
    padded while the other is not.
    """
    import onnx

    uneven = []
    for node in onnx.load(path).graph.node:
        given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type == "AveragePool" and given.get("count_include_pad") and 0 in given["pads"]:
            uneven.append(node.name)
    return {int(name.split("/")[2]) for name in uneven}


def _onnx_runtime(path: Path, feed: Tensors) -> dict[str, np.ndarray]:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feed)), strict=True))


def apart(ours: np.ndarray, theirs: np.ndarray, moved: np.ndarray | None) -> str:
    """How two results differ by more than rounding does; nothing where they do not."""
    if ours.shape != theirs.shape:
        return f"has shape {ours.shape}, not {theirs.shape}"
    if moved is None:
        return "does not run in float64"
    off = np.abs(ours.astype(np.float64) - theirs)
    allowed = NOISE * moved + SHARE * max(1.0, float(np.abs(theirs).max()))
    if not (off <= allowed).all():
        place = np.unravel_index(int(np.argmax(off - allowed)), off.shape)
        at = ", ".join(map(str, place))
        return f"at [{at}] is {ours[place]:g}, not {theirs[place]:g} (+-{allowed[place]:.2g})"
    return ""
