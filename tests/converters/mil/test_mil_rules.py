"""Each of Core ML's rules, by a program that breaks it and one that does not."""

from __future__ import annotations

import numpy as np
import pytest

from converters.mil.program import FunctionDef
from converters.mil.rules import RULES, findings, warnings
from converters.mil.rules.rule import CoreMlRule
from converters.mil.runtime import Interpreter
from model_defs.errors import BadArtifact, UnsupportedOperation
from tests.converters.mil.mil_programs import Builder, tensor
from tests.converters.mil.mil_rules import EXAMPLES, attention, pooled
from tests.converters.mil.mil_rules_page import PAGE, link, page

NAMES = [rule.name for rule in RULES]
LOADER = [rule.name for rule in RULES if rule.kind == "loader"]


def broken(function: FunctionDef) -> set[str]:
    return {finding.rule.name for finding in findings(function)}


def ran(function: FunctionDef, **given: np.ndarray) -> dict[str, np.ndarray]:
    random = np.random.default_rng(3)
    feeds = {
        v.name: random.integers(0, 2, v.type.fixed).astype(v.type.numpy)  # type: ignore[union-attr]
        for v in function.inputs
    }
    return Interpreter(function, "exact").run(feeds | given)


def test_every_rule_has_a_name_of_its_own_and_an_example() -> None:
    assert len(set(NAMES)) == len(NAMES)
    assert set(EXAMPLES) == set(NAMES)


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_every_rule_has_a_source_that_can_be_followed(rule: CoreMlRule) -> None:
    assert rule.source
    assert all("](https://" in link(source) for source in rule.source)


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == page(), "run python -m tests.converters.mil.mil_rules_page"


@pytest.mark.parametrize("name", NAMES)
def test_finds_what_breaks_a_rule_and_that_rule_alone(name: str) -> None:
    assert broken(EXAMPLES[name][0]) == {name}


@pytest.mark.parametrize("name", NAMES)
def test_what_keeps_a_rule_keeps_all_and_runs(name: str) -> None:
    assert broken(EXAMPLES[name][1]) == set()
    assert ran(EXAMPLES[name][1])


@pytest.mark.parametrize("name", LOADER)
def test_a_program_that_core_ml_does_not_load_is_not_run(name: str) -> None:
    with pytest.raises(BadArtifact, match=f"^{name}: Core ML ") as caught:
        Interpreter(EXAMPLES[name][0], "exact")
    assert caught.value.where
    assert "docs/core-ml-rules.md" in caught.value.do


@pytest.mark.parametrize("name", [rule.name for rule in RULES if rule.kind == "unit"])
def test_what_one_unit_gets_wrong_is_a_warning_with_its_report(name: str) -> None:
    (rule,) = (rule for rule in RULES if rule.name == name)
    (said,) = warnings(EXAMPLES[name][0])
    assert f"rule {name}, reported in {rule.source[0]}" in said
    assert warnings(EXAMPLES[name][1]) == ()
    assert ran(EXAMPLES[name][0])


def test_averages_hang_over_as_reported() -> None:
    """coremltools' PR 2844, by Core ML itself."""
    x = np.arange(49, dtype=np.float32).reshape(1, 1, 7, 7)
    (found,) = ran(EXAMPLES["avg-pool-ceil"][0], x=x).values()
    expected = [[4, 7, 4.75], [25, 28, 15.25], [21.25, 22.75, 12]]
    np.testing.assert_array_equal(found[0, 0], expected)


def test_averages_of_lines_hang_over_as_reported() -> None:
    how = {"strides": [3], "ceil_mode": True}
    function = pooled("avg_pool", tensor(1, 1, 7), tensor(1, 1, 3), **how)
    x = np.arange(7, dtype=np.float32).reshape(1, 1, 7)
    (found,) = ran(function, x=x).values()
    np.testing.assert_array_equal(found[0, 0], [0.5, 3.5, 3.0])


def test_an_inverse_is_off_as_reported() -> None:
    """coremltools' PR 2773, by Core ML itself."""
    x = np.full((3, 4), 1.0, np.float32)
    x[0] = [1e-4, 1e-3, 1e-2, 0.25]
    (found,) = ran(EXAMPLES["inverse-epsilon"][0], x=x).values()
    expected = [5.0000005e03, 9.0909094e02, 9.9009903e01, 3.9984009]
    np.testing.assert_allclose(found[0], expected, rtol=1e-6)
    np.testing.assert_allclose(found[1], 9.9990004e-01, rtol=1e-6)


def test_a_logarithm_of_zero_is_that_of_the_epsilon() -> None:
    zeros = np.zeros((3, 4), np.float32)
    (found,) = ran(EXAMPLES["log-epsilon"][0], x=zeros).values()
    np.testing.assert_allclose(found, -103.28, atol=0.01)
    (right,) = ran(EXAMPLES["log-epsilon"][1], x=zeros).values()
    assert np.isneginf(right).all()


def test_a_root_of_almost_zero_is_off() -> None:
    small = np.full((3, 4), 1e-12, np.float32)
    (found,) = ran(EXAMPLES["rsqrt-epsilon"][0], x=small).values()
    np.testing.assert_allclose(found, 1e6 / np.sqrt(2), rtol=1e-5)


def test_a_reflection_of_which_no_report_says_what_comes_out_is_not_run() -> None:
    with pytest.raises(UnsupportedOperation, match="reflection but without aligned corners"):
        ran(EXAMPLES["resample-reflection"][0])


def softmaxed(kind: str) -> FunctionDef:
    """A softmax of what is no product of two computed values, before a product."""
    x = tensor(16, 5, 5)
    built = Builder({"x": x, "v": x})
    how = {"y": np.ones((5, 5), np.float32)} if kind == "mul" else {}
    scores = built.add(kind, x, x="%x", **how)
    weights = built.add("softmax", x, x=scores, axis=-1)
    built.add("matmul", x, x=weights, y="%v")
    return built.function()


@pytest.mark.parametrize("kind", ["mul", "exp"])
def test_a_softmax_that_is_no_attention_is_not_warned_of(kind: str) -> None:
    assert broken(softmaxed(kind)) == set()


def test_a_warning_says_how_many_more() -> None:
    function = attention(10)
    built = Builder(dict.fromkeys("qkv", tensor(10, 2, 5, 4)))
    for _ in range(3):
        scores = built.add("matmul", tensor(10, 2, 5, 5), x="%q", y="%k", transpose_y=True)
        weights = built.add("softmax", tensor(10, 2, 5, 5), x=scores, axis=-1)
        built.add("matmul", tensor(10, 2, 5, 4), x=weights, y="%v")
    assert "and 2 more" in warnings(built.function())[0]
    assert "more" not in warnings(function)[0].split(":")[0]


def test_looks_into_blocks() -> None:
    """A branch of a condition is refused as the program around it would be."""
    from converters.mil.program import Block, MilValue, Operation

    bad = EXAMPLES["activation-of-integers"][0]
    relu = bad.block.operations[0]
    inner = Block((), (relu,), (relu.results[0].name,))
    result = MilValue("y", relu.results[0].type)
    cond = Operation("cond", "y", {"pred": ("p",)}, (result,), (inner, inner))
    inputs = (*bad.inputs, MilValue("p", tensor(1, dtype="fp32")))
    function = FunctionDef("main", "CoreML6", inputs, ("y",), Block(inputs, (cond,), ("y",)))
    assert broken(function) == {"activation-of-integers"}
