"""The zoo: its names resolve, cheaply, to specifications that agree with their modules."""

from __future__ import annotations

import subprocess
import sys

import pytest

from model_defs import zoo
from model_defs.errors import UnknownName


@pytest.mark.parametrize("name", zoo.MODELS)
def test_a_model_is_listed_under_its_own_name(name):
    assert zoo.load(name).name == name


@pytest.mark.parametrize("name", zoo.MODELS)
def test_a_fed_model_takes_tensors_that_its_feeder_gives(name):
    spec = zoo.load(name)
    if spec.fed_by is None:
        assert not any(tensor.kind == "features" for tensor in spec.inputs)
    else:
        given = {tensor.name: tensor for tensor in zoo.load(spec.fed_by).outputs}
        assert all(given[tensor.name] == tensor for tensor in spec.inputs)


def test_products_are_made_of_models_of_the_zoo():
    assert all(model in zoo.MODELS for p in zoo.PRODUCTS.values() for model in p.models)
    assert all(product.name == name for name, product in zoo.PRODUCTS.items())


def test_an_unknown_model_is_told_the_nearest_name():
    with pytest.raises(UnknownName, match="did you mean 'depth-trunk'"):
        zoo.load("depth-trnk")


def test_listing_the_zoo_imports_no_torch():
    code = "import sys, model_defs.zoo; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
