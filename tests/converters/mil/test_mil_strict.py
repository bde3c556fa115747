"""What a program may not do: one test for each guard."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mil_mutation import constant, edit, operation

from converters import mil
from model_defs.errors import BadArtifact, UnknownName, UnsupportedOperation

ROOT = Path(mil.__file__).parents[2]


def run(path: Path, image: np.ndarray) -> np.ndarray:
    return mil.open_package(path).main.run({"in_0": image})["y"]


def test_the_undamaged_package_runs(package: Path, image: np.ndarray, truth: np.ndarray) -> None:
    np.testing.assert_allclose(run(package, image), truth, atol=1e-6)


def test_an_unknown_operation(package: Path, image: np.ndarray) -> None:
    edit(package, lambda m: setattr(operation(m, "leaky_relu"), "type", "leaky_relu_9"))
    with pytest.raises(UnsupportedOperation, match="'leaky_relu_9'") as caught:
        run(package, image)
    assert "(leaky_relu_9), opset CoreML6" in caught.value.where


def test_an_unknown_argument(package: Path, image: np.ndarray) -> None:
    def change(model: Any) -> None:
        target = operation(model, "leaky_relu")
        target.inputs["beta"].CopyFrom(target.inputs["alpha"])

    edit(package, change)
    with pytest.raises(UnsupportedOperation, match="argument 'beta' of operation 'leaky_relu'"):
        run(package, image)


def test_a_missing_argument(package: Path, image: np.ndarray) -> None:
    edit(package, lambda m: operation(m, "leaky_relu").inputs.pop("alpha"))
    with pytest.raises(BadArtifact, match="argument 'alpha' of operation 'leaky_relu' is missing"):
        run(package, image)


def test_two_values_for_one_argument(package: Path, image: np.ndarray) -> None:
    def change(model: Any) -> None:
        arguments = operation(model, "leaky_relu").inputs["alpha"].arguments
        arguments.add().CopyFrom(arguments[0])

    edit(package, change)
    with pytest.raises(BadArtifact, match="argument 'alpha' has 2 values"):
        run(package, image)


def test_an_argument_of_another_kind(package: Path, image: np.ndarray) -> None:
    def change(model: Any) -> None:
        target = operation(model, "max_pool")
        target.inputs["pad_type"].CopyFrom(target.inputs["ceil_mode"])

    edit(package, change)
    with pytest.raises(BadArtifact, match="argument 'pad_type' is not a str"):
        run(package, image)


def test_a_mode_that_is_not_executed(package: Path, image: np.ndarray) -> None:
    def change(model: Any) -> None:
        name = operation(model, "pad").inputs["mode"].arguments[0].name
        constant(model, name).strings.values[0] = "circular"

    edit(package, change)
    with pytest.raises(UnsupportedOperation, match="pad of mode 'circular'") as caught:
        run(package, image)
    assert "(pad), opset CoreML6" in caught.value.where


def test_a_declared_shape_that_the_result_does_not_have(package: Path, image: np.ndarray) -> None:
    def change(model: Any) -> None:
        sizes = operation(model, "max_pool").outputs[0].type.tensorType.dimensions
        sizes[2].constant.size = 4

    edit(package, change)
    with pytest.raises(BadArtifact, match=r"declared fp32\[1, 6, 4, 4\]"):
        run(package, image)


def test_a_declared_dtype_that_the_result_does_not_have(package: Path, image: np.ndarray) -> None:
    edit(
        package,
        lambda m: setattr(operation(m, "max_pool").outputs[0].type.tensorType, "dataType", 10),
    )
    with pytest.raises(BadArtifact, match=r"declared fp16\[.*\], but is fp32"):
        run(package, image)


def test_a_dtype_that_is_not_executed(package: Path, image: np.ndarray) -> None:
    edit(
        package,
        lambda m: setattr(operation(m, "max_pool").outputs[0].type.tensorType, "dataType", 40),
    )
    with pytest.raises(BadArtifact, match="dtype code 40"):
        run(package, image)


def test_a_value_that_nothing_computes(package: Path, image: np.ndarray) -> None:
    edit(
        package,
        lambda m: setattr(operation(m, "softmax").inputs["x"].arguments[0], "name", "nowhere"),
    )
    with pytest.raises(BadArtifact, match="reads 'nowhere'"):
        run(package, image)


def test_a_value_computed_twice(package: Path, image: np.ndarray) -> None:
    def change(model: Any) -> None:
        name = operation(model, "max_pool").outputs[0].name
        operation(model, "leaky_relu").outputs[0].name = name

    edit(package, change)
    with pytest.raises(BadArtifact, match="computed twice"):
        run(package, image)


def test_too_many_results(package: Path, image: np.ndarray) -> None:
    def change(model: Any) -> None:
        outputs = operation(model, "max_pool").outputs
        outputs.add().CopyFrom(outputs[0])
        outputs[1].name = "second"

    edit(package, change)
    with pytest.raises(BadArtifact, match="has 2 results, not 1"):
        run(package, image)


def test_an_output_that_nothing_computes(package: Path, image: np.ndarray) -> None:
    def change(model: Any) -> None:
        function = model.mlProgram.functions["main"]
        function.block_specializations[function.opset].outputs[0] = "nowhere"

    edit(package, change)
    with pytest.raises(BadArtifact, match="nowhere"):
        run(package, image)


def test_a_constant_of_another_type_than_declared(package: Path, image: np.ndarray) -> None:
    def change(model: Any) -> None:
        name = operation(model, "leaky_relu").inputs["alpha"].arguments[0].name
        for candidate in (
            model.mlProgram.functions["main"].block_specializations["CoreML6"].operations
        ):
            if candidate.type == "const" and candidate.outputs[0].name == name:
                candidate.outputs[0].type.tensorType.dataType = 10

    edit(package, change)
    with pytest.raises(BadArtifact, match=r"a constant of type fp32\[\], declared fp16\[\]"):
        run(package, image)


def test_an_unknown_opset(package: Path) -> None:
    def change(model: Any) -> None:
        model.mlProgram.functions["main"].opset = "CoreML99"

    edit(package, change)
    with pytest.raises(UnsupportedOperation, match="opset 'CoreML99'"):
        mil.open_package(package)


def test_a_neural_network_of_the_old_kind(package: Path) -> None:
    edit(package, lambda m: m.neuralNetwork.layers.add())
    with pytest.raises(UnsupportedOperation, match="'neuralNetwork' is not executed"):
        mil.open_package(package)


def test_wrong_inputs(package: Path, image: np.ndarray) -> None:
    main = mil.open_package(package).main
    with pytest.raises(BadArtifact, match="takes in_0"):
        main.run({"x": image})
    with pytest.raises(BadArtifact, match="shape"):
        main.run({"in_0": image[0]})
    with pytest.raises(BadArtifact, match="is int32, not fp32"):
        main.run({"in_0": image.astype(np.int32)})


def test_an_unknown_function_and_precision(package: Path, image: np.ndarray) -> None:
    opened = mil.open_package(package)
    with pytest.raises(UnknownName, match="unknown function 'mian'") as caught:
        opened["mian"]
    assert "did you mean 'main'?" in caught.value.do
    with pytest.raises(UnknownName, match="precision"):
        opened.main.run({"in_0": image}, precision="double")


def python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_opening_needs_neither_coremltools_nor_torch_and_is_quick(saved: dict[str, Path]) -> None:
    code = f"""
import sys, time
begin = time.process_time()
from pathlib import Path
from converters import mil
package = mil.open_package(Path({str(saved["FLOAT32"])!r}))
assert len(package.main.block.operations) > 10
print(time.process_time() - begin, {{"torch", "coremltools"}} & set(sys.modules))
"""
    seconds, loaded = python(code).split(maxsplit=1)
    assert loaded == "set()"
    assert float(seconds) < 1


@pytest.mark.parametrize(
    "first",
    ["from converters.mil.messages import messages; messages('Model_pb2')", "import coremltools"],
    ids=["converters.mil", "coremltools"],
)
def test_our_readers_and_coremltools_live_in_one_process(
    first: str, saved: dict[str, Path]
) -> None:
    code = f"""
import sys, logging
sys.modules["tensorflow"] = None
logging.disable()
{first}
import coremltools
from converters import mil
from converters.mil.messages import messages
from coremltools.proto import Model_pb2 as theirs
data = open({str(saved["FLOAT32"] / "Data/com.apple.CoreML/model.mlmodel")!r}, "rb").read()
assert messages("Model_pb2").Model.FromString(data) == theirs.Model.FromString(data)
print("fine")
"""
    assert python(code) == "fine"


def test_where_coremltools_is_not_installed_that_is_said(saved: dict[str, Path]) -> None:
    code = f"""
import sys
sys.modules["coremltools"] = None
from pathlib import Path
from converters import mil
try:
    mil.open_package(Path({str(saved["FLOAT32"])!r}))
except Exception as error:
    print(type(error).__name__, error)
"""
    said = python(code)
    assert said.startswith("BackendUnavailable")
    assert "coremltools is not installed" in said
    assert "pip install coremltools" in said
