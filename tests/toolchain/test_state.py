"""What a specification says of state, the sequences that it is proved on, and the judge of them."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import mlship
from converters.api import Program, Tensors
from converters.reference import ReferenceRunner
from converters.stepping import Stepper, proposed_state
from mlship import BadSpec, ModelSpec
from model_defs import lookup
from model_defs.pixels import open_picture
from tests.toolchain.projects import mlship as cli
from tests.toolchain.stateful import CELL, GRU, LSTM, PLANE, program_of, tensor
from toolchain.bundle.parity_report import ParityRow
from toolchain.data import calibration, cases, sequences
from toolchain.data.trunks import Trunks
from toolchain.parity import compare, reference
from toolchain.recipes import recipes

# The specification ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"hiden": "hidden_out"}, "there is no input 'hiden'"),
        ({"hidden": "out"}, "there is no output 'out'"),
        ({"hidden": "matte"}, "(1, 1, 16, 16), not float32 (1, 6, 16, 16)"),
        ({"image": "hidden_out"}, "does not fit input 'image'"),
        (("hidden", "hidden_out"), "state is a tuple"),
    ],
)
def test_a_state_that_cannot_be_is_refused(state: Any, said: str) -> None:
    with pytest.raises(BadSpec) as error:
        replace(GRU, state=state)
    assert said in error.value.what + str(error.value.do)


def test_a_state_needs_an_output_of_its_own_and_a_picture_is_none() -> None:
    with pytest.raises(BadSpec, match="'h_out' is the state of two inputs"):
        replace(CELL, state={"h": "h_out", "c": "h_out"})
    with pytest.raises(BadSpec, match="every input is state"):
        replace(CELL, inputs=CELL.inputs[1:])
    frame = replace(GRU.inputs[0], name="last")
    shown = replace(GRU.outputs[0], name="shown", shape=frame.shape)
    with pytest.raises(BadSpec, match="made of pixels"):
        replace(GRU, inputs=(*GRU.inputs, frame), outputs=(shown,), state={"last": "shown"})


@pytest.mark.parametrize("bounds", [{"low": 0.5, "high": 1}, {"low": -2, "high": -1}])
def test_a_state_begins_at_zero_so_its_bounds_reach_there(bounds: dict[str, float]) -> None:
    with pytest.raises(BadSpec, match="'hidden' is 0 at the start"):
        replace(GRU, inputs=(GRU.inputs[0], replace(GRU.inputs[1], **bounds)))


def test_a_whole_number_is_no_state_of_floats() -> None:
    count = tensor("count", 1, 6, low=0, high=9, dtype="int64")
    with pytest.raises(BadSpec, match="float32 .* not int64"):
        replace(CELL, inputs=(CELL.inputs[0], count), state={"count": "h_out"})


def test_a_specification_keeps_its_state_whatever_becomes_of_the_dict() -> None:
    pairs = {"hidden": "hidden_out"}
    spec = replace(GRU, state=pairs)
    pairs.clear()
    assert spec.state == {"hidden": "hidden_out"}
    assert hash(spec) == hash(replace(GRU, state={}))  # a key of tables, as every specification


# Sequences -----------------------------------------------------------------------------------


def test_a_case_becomes_steps_that_change_and_begin_at_zero() -> None:
    found = Trunks.of(GRU).build_cases()
    assert [*found][:5] == [*(f"photo-step-{n}" for n in (1, 2, 3, 4)), "noise-step-1"]
    assert [name for name in found if name.startswith("zeros")] == ["zeros-step-1", "zeros-step-2"]
    assert not any(one["hidden"].any() for one in found.values())
    first, second = (found[f"photo-step-{n}"]["image"] for n in (1, 2))
    np.testing.assert_array_equal(first, cases.build(GRU.inputs, ("photo",))["photo"]["image"])
    assert np.abs(first - second).max() > 0
    assert np.abs(first - second).mean() < 0.2
    noises = [found[f"noise-step-{n}"]["image"] for n in (1, 2)]
    assert np.abs(noises[0] - noises[1]).mean() > 0.2


def test_steps_have_pytorch_s_own_state_in_them() -> None:
    program = program_of(GRU)
    given, made = sequences.unrolled(program, Trunks.of(GRU).build_cases())
    run = ReferenceRunner(program).run
    hidden = np.zeros(PLANE, np.float32)
    for number in (1, 2, 3, 4):
        name = f"photo-step-{number}"
        np.testing.assert_array_equal(given[name]["hidden"], hidden)
        answer = run({"image": given[name]["image"], "hidden": hidden})
        np.testing.assert_array_equal(made[name]["matte"], answer["matte"])
        hidden = answer["hidden_out"]
    assert not given["noise-step-1"]["hidden"].any()


def test_a_folder_of_pictures_is_one_sequence(tmp_path: Path) -> None:
    for name in ("b.png", "a.png", "c.png"):
        shutil.copy(cases.PHOTO, tmp_path / name)
    found = sequences.frames_of_folder(tmp_path, GRU.inputs, GRU.state)
    assert [*found] == ["a.png-step-1", "b.png-step-2", "c.png-step-3"]
    given, _ = sequences.unrolled(program_of(GRU), found)
    assert [bool(one["hidden"].any()) for one in given.values()] == [False, True, True]


class Stem(nn.Module):
    """Of a frame what CELL takes, and a count of the frames."""

    def forward(self, image: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
        return image.mean((2, 3)).repeat(1, 2)[:, :5] + count, count + 1


def test_a_head_s_state_is_its_own_and_a_trunk_s_goes_on() -> None:
    trunk = ModelSpec(
        "stem",
        Stem,
        (GRU.inputs[0], tensor("count", 1, 1)),
        (tensor("x", 1, 5, tolerance=1), tensor("counted", 1, 1, tolerance=1)),
        state={"count": "counted"},
    )
    trunks = Trunks(CELL, (program_of(trunk),))
    found = trunks.build_cases(("photo",))
    assert not any(one["h"].any() or one["c"].any() for one in found.values())
    means = [float(one["x"].mean()) for one in found.values()]
    assert [round(b - a) for a, b in itertools.pairwise(means)] == [1, 1, 1]
    given, _ = sequences.unrolled(program_of(CELL), found)
    assert [bool(one["h"].any()) for one in given.values()] == [False, True, True, True]
    image = cases.build(GRU.inputs[:1], ("photo",))["photo"]["image"]
    held = {"h": np.ones((1, 6), np.float32)}
    fed = trunks.feed({"image": image, **held})
    assert fed["h"].all()
    assert not fed["c"].any()


def test_calibration_sees_a_state_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "pictures", lambda: (open_picture(cases.PHOTO),) * 6)
    found = calibration.inputs_for(program_of(GRU))
    used = [bool(given["hidden"].any()) for given in found]
    assert used[:5] == [False, True, True, True, False]
    texts = [bool(given["c"].any()) for given in calibration.inputs_for(program_of(CELL))]
    assert any(texts)


def test_a_stepper_remembers_until_it_is_reset() -> None:
    stepper = Stepper(ReferenceRunner(program_of(CELL)), CELL.inputs, CELL.state)
    x = np.ones((1, 5), np.float32)
    first, second = stepper.run({"x": x}), stepper.run({"x": x})
    assert not np.array_equal(first["y"], second["y"])
    with_own = ReferenceRunner(program_of(CELL)).run(
        {"x": x, "h": first["h_out"], "c": first["c_out"]}
    )
    np.testing.assert_array_equal(second["y"], with_own["y"])
    stepper.reset()
    np.testing.assert_array_equal(stepper.run({"x": x})["y"], first["y"])
    given = stepper.run({"x": x, "h": first["h_out"], "c": first["c_out"]})
    np.testing.assert_array_equal(given["y"], second["y"])


# Judged -----------------------------------------------------------------------------------


class _Answering:
    """A runner that answers with PyTorch's own outputs, changed."""

    backend = "test"

    def __init__(self, program: Program, change: Callable[[Tensors], Tensors]) -> None:
        self._run, self._change = ReferenceRunner(program).run, change

    def run(self, inputs: Tensors) -> dict[str, np.ndarray]:
        return dict(self._change(self._run(inputs)))

    def close(self) -> None:
        """Nothing to free."""


def rows_of(change: Callable[[Tensors], Tensors], state: bool = True) -> list[ParityRow]:
    program = program_of(CELL)
    made = reference.of_model(recipes.find("fp32"), program, steps_of_cell())
    runner = _Answering(program, change)
    made = replace(made, faithful=None, state=made.state if state else {})
    return [*compare.check(runner, [made])]


def steps_of_cell() -> dict[str, dict[str, np.ndarray]]:
    return Trunks.of(CELL).build_cases(("noise",))


def test_a_drift_is_seen_and_told_from_an_error_at_one_step() -> None:
    def leaking(outputs: Tensors) -> Tensors:
        return {**outputs, "c_out": outputs["c_out"] + np.float32(0.008)}

    rows = rows_of(leaking)
    failed = [row for row in rows if row.verdict == "failed"]
    assert failed
    assert all(row.case != "noise-step-1" for row in failed)
    assert "drifted" in failed[0].hint
    # Fed with PyTorch's state it would never show.
    assert all(row.verdict == "passed" for row in rows_of(leaking, state=False))


def test_states_that_are_swapped_fail_at_step_1() -> None:
    rows = rows_of(lambda o: {**o, "h_out": o["c_out"], "c_out": o["h_out"]})
    assert {row.case for row in rows if row.verdict == "failed"} >= {"noise-step-1"}


def test_where_a_step_did_not_run_the_next_has_no_state() -> None:
    calls = []

    def failing(outputs: Tensors) -> Tensors:
        calls.append(1)
        if len(calls) == 1:
            raise mlship.BadArtifact("it breaks")
        return outputs

    rows = rows_of(failing)
    verdicts = {row.case: row.verdict for row in rows}
    assert verdicts["noise-step-1"] == "failed"
    assert [verdicts[f"noise-step-{n}"] for n in (2, 3, 4)] == ["skipped"] * 3


# Found by running a module -------------------------------------------------------------------


def test_a_module_in_memory_is_told_its_state() -> None:
    net, shapes = LSTM(), ((1, 5), (1, 6), (1, 6))
    example = tuple(torch.rand(shape) - 0.5 for shape in shapes)
    found = mlship.describe(net, example, state={"h": "output2", "c": "output3"})
    assert found.state == {"h": "output2", "c": "output3"}
    assert [(t.kind, t.low, t.high) for t in found.inputs[1:]] == [("state", -1.0, 1.0)] * 2
    frame, mask = torch.rand(1, 3, 8, 8), torch.zeros(1, 1, 8, 8)
    shown = mlship.describe(Masker(), (frame, mask), state={"previous_mask": "mask"})
    held = shown.inputs[1]
    assert (held.kind, held.preprocess, held.low, held.high) == ("state", None, 0.0, 1.0)
    with pytest.raises(BadSpec, match="there is no output 'msk'"):
        mlship.describe(Masker(), (frame, mask), state={"previous_mask": "msk"})


FRAMES = (torch.rand(1, 3, 8, 8), torch.zeros(1, 1, 8, 8))


class Masker(nn.Module):
    def forward(self, image: Tensor, previous_mask: Tensor) -> dict[str, Tensor]:
        return {"mask": (image.mean(1, keepdim=True) + previous_mask).sigmoid()}


PROPOSED = [
    ("hidden", "hidden_out", True),
    ("h_in", "h_out", True),
    ("h0", "hn", True),
    ("c_0", "c_n", True),
    ("r1", "next_r1", True),
    ("previous_mask", "mask", True),
    ("mask_prev", "mask_next", True),
    ("first", "first_next", True),
    ("first", "output2_first_next", True),
    ("image", "image_out", False),
    ("image_in", "image_out", False),
    ("features", "features_out", False),
    ("h", "c_out", False),
    ("hidden", "hidden_states", False),
]


@pytest.mark.parametrize(("taken", "made", "is_state"), PROPOSED)
def test_a_state_is_proposed_by_names(taken: str, made: str, is_state: bool) -> None:
    inputs = (tensor("x", 1, 4), tensor(taken, 1, 6))
    found = proposed_state(inputs, (tensor(made, 1, 6, tolerance=1),))
    assert found == ({taken: made} if is_state else {})
    assert not proposed_state(inputs, (tensor(made, 1, 7, tolerance=1),))
    whole = tensor(made, 1, 6, tolerance=0, dtype="int64")
    assert not proposed_state(inputs, (whole,))
    assert not proposed_state(inputs[1:], (tensor(made, 1, 6, tolerance=1),))


def test_the_next_frame_is_no_memory_of_a_picture() -> None:
    made = tensor("image_next", 1, 3, 16, 16, tolerance=1)
    assert not proposed_state(GRU.inputs, (made,))


def test_one_that_fits_two_is_not_proposed() -> None:
    inputs = (tensor("x", 1, 4), tensor("h", 1, 6), tensor("h_in", 1, 6))
    assert not proposed_state(inputs, (tensor("h_out", 1, 6, tolerance=1),))
    both = (tensor("h_out", 1, 6, tolerance=1), tensor("next_h", 1, 6, tolerance=1))
    assert not proposed_state(inputs[:2], both)


def test_a_specification_is_printed_with_its_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\n\n\nclass Net(nn.Module):\n"
        "    def forward(self, image, previous_mask):\n"
        "        return {'mask': (image.mean(1, keepdim=True) + previous_mask).sigmoid()}\n"
    )
    monkeypatch.chdir(tmp_path)
    example = ("--example", "1,3,8,8", "--example", "1,1,8,8")
    result = cli("spec", "net.py:Net", *example)
    assert result.exit_code == 0, result.output
    assert 'state={"previous_mask": "mask"},' in result.stdout
    assert "# by their names these may be the next call's inputs" in result.stdout
    (tmp_path / "kept.py").write_text(result.stdout)
    kept = lookup.load(f"{tmp_path}/kept.py:spec")
    assert kept.state == {"previous_mask": "mask"}
    assert (kept.inputs[1].kind, kept.inputs[1].preprocess) == ("state", None)


class Recurrent(nn.Module):
    def forward(self, x: Tensor, hidden: Tensor) -> dict[str, Tensor]:
        return {"y": x.mean(1), "hidden": (hidden + x).tanh()}


def test_a_state_of_the_input_s_own_name_is_renamed_and_said() -> None:
    found = mlship.describe(Recurrent(), (torch.rand(1, 4), torch.rand(1, 4)))
    assert [t.name for t in found.outputs] == ["y", "hidden_out"]
    assert found.notes[-2:] == (
        "found by running the module: what forward returns as hidden is output hidden_out, "
        "as that name is taken",
        "by their names these may be the next call's inputs: state={'hidden': 'hidden_out'}",
    )
    assert not any("is taken" in note for note in mlship.describe(Masker(), FRAMES).notes)


def test_pairs_that_are_none_are_refused_in_words() -> None:
    with pytest.raises(BadSpec, match="state is a list, not a dict"):
        mlship.describe(nn.Identity(), torch.rand(1, 3, 4, 4), state=["h"])  # type: ignore[arg-type]
