"""The zoo: its names resolve, cheaply, to specifications that agree with their modules."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from model_defs import zoo
from model_defs.counting import count
from model_defs.errors import UnknownName

# Parameters as specified; multiply-adds in millions, at the size of the specification.
SIZES = {
    "select": (1_074_855, 4_144),
    "select-coarse": (725_185, 1_577),
    "select-baseline": (134_272_582, 190_243),
    "portrait": (2_080_760, 361),
    "portrait-video": (2_081_048, 365),
    "portrait-head": (753_954, 221),
    "depth": (3_960_930, 962),
    "depth-trunk": (3_206_976, 742),
    "depth-head": (753_954, 221),
    "depth-upproj": (63_572_737, 17_222),
    "saliency": (4_423_041, 6_408),
    "saliency-resnet": (70_093_441, 147_246),
    "inpaint": (12_429_107, 344_979),
    "inpaint-lite": (3_112_411, 87_661),
    "inpaint-reflect": (12_561_891, 356_978),
    "inpaint-pconv": (32_865_248, 37_985),
}


@pytest.mark.parametrize("name", zoo.MODELS)
def test_a_model_has_the_specified_parameters_and_multiply_adds(name):
    counts = count(zoo.load(name))
    assert (counts.parameters, round(counts.macs / 1e6)) == SIZES[name]


@pytest.mark.parametrize("name", zoo.MODELS)
def test_a_model_gives_the_shapes_that_its_specification_says(name):
    spec = zoo.load(name)
    with torch.device("meta"), torch.no_grad():
        outputs = spec.build().eval()(*(torch.empty(tensor.shape) for tensor in spec.inputs))
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    assert [tuple(o.shape) for o in outputs] == [tensor.shape for tensor in spec.outputs]


@pytest.mark.parametrize("name", zoo.MODELS)
def test_a_model_is_built_in_eval_mode(name):
    with torch.device("meta"):
        assert not any(module.training for module in zoo.load(name).build().modules())


@pytest.mark.parametrize("name", zoo.MODELS)
def test_a_model_is_listed_under_its_own_name(name):
    assert zoo.load(name).name == name


@pytest.mark.parametrize("name", zoo.MODELS)
def test_inputs_that_are_pictures_say_how_they_become_tensors(name):
    for tensor in zoo.load(name).inputs:
        assert (tensor.preprocess is not None) == (tensor.kind in ("image", "mask"))


@pytest.mark.parametrize("name", zoo.MODELS)
def test_preprocessed_pixels_lie_in_the_bounds_of_the_input(name):
    for tensor in zoo.load(name).inputs:
        if tensor.preprocess is not None:
            bounds = list(zip(tensor.preprocess.mean, tensor.preprocess.std, strict=True))
            assert min((0 - mean) / std for mean, std in bounds) == pytest.approx(tensor.low)
            assert max((255 - mean) / std for mean, std in bounds) == pytest.approx(tensor.high)


@pytest.mark.parametrize("name", zoo.MODELS)
def test_a_fed_model_takes_tensors_that_its_feeder_gives(name):
    spec = zoo.load(name)
    if spec.fed_by is None:
        assert not any(tensor.kind == "features" for tensor in spec.inputs)
    else:
        given = {tensor.name: tensor for tensor in zoo.load(spec.fed_by).outputs}
        assert all(given[tensor.name] == tensor for tensor in spec.inputs)


def test_only_the_nets_to_measure_against_are_baselines():
    baselines = {name for name in zoo.MODELS if zoo.load(name).baseline}
    assert baselines == {"select-baseline", "saliency-resnet"}


def test_products_are_made_of_models_of_the_zoo():
    assert all(model in zoo.MODELS for p in zoo.PRODUCTS.values() for model in p.models)
    assert all(product.name == name for name, product in zoo.PRODUCTS.items())


def test_an_unknown_model_is_told_the_nearest_name():
    with pytest.raises(UnknownName, match="did you mean 'depth-trunk'"):
        zoo.load("depth-trnk")


def test_listing_the_zoo_imports_no_torch():
    code = "import sys, model_defs.zoo; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
