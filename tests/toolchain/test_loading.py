"""The loading code that web bundles carry computes what Python computes, bit for bit."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from converters.tfjs.runner import NODE
from model_defs.pixels import open_picture, place, to_picture, to_tensor
from model_defs.spec import Postprocess, Preprocess, TensorSpec
from toolchain.applications.run import run_bundle
from toolchain.build.ship import LOADING
from toolchain.data.cases import PHOTO

HERE = Path(__file__).parent / "loading"
RNG = np.random.default_rng(0)
SIZES = ((40, 64), (7, 90), (33, 33), (128, 100), (64, 96), (1, 1))
RESIZES = ("stretch", "letterbox", "crop")
FILTERS = ("nearest", "bilinear", "bicubic", "area")


def ask(jobs: list[dict[str, Any]], loading: Path = LOADING / "mlship.mjs") -> list[Any]:
    """What the loading code answers to each job."""
    node = shutil.which("node")
    assert node is not None
    request = json.dumps({"loading": str(loading), "jobs": jobs})
    ran = subprocess.run(
        [node, str(HERE / "check.mjs")], input=request, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    return list(json.loads(ran.stdout))


def encoded(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def decoded(text: str, dtype: type) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), dtype)


def rgba(picture: np.ndarray) -> dict[str, Any]:
    """A picture as a browser's ImageData."""
    if picture.shape[2] == 3:
        opaque = np.full((*picture.shape[:2], 1), 255, np.uint8)
        picture = np.concatenate([picture, opaque], axis=2)
    return {"width": picture.shape[1], "height": picture.shape[0], "data": encoded(picture)}


def spec_of(rule: Preprocess, height: int = 32, width: int = 48) -> TensorSpec:
    channels = 1 if rule.colour == "GRAY" else 3
    return TensorSpec("image", (1, channels, height, width), "image", preprocess=rule)


RULES = [
    *(Preprocess(resize=r, filter=f) for r, f in product(RESIZES, FILTERS)),  # type: ignore[arg-type]
    Preprocess("letterbox", colour="BGR", mean=(103.94, 116.78, 123.68), std=(58.8,) * 3, pad=128),
    Preprocess(colour="GRAY", mean=(3.0,), std=(255.0,)),
]


def test_pictures_become_the_same_tensors() -> None:
    pictures = [RNG.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in SIZES]
    jobs, wanted = [], []
    for rule, picture in product(RULES, pictures):
        spec = spec_of(rule)
        jobs.append({"command": "tensor", "picture": rgba(picture), "spec": spec.to_json()})
        wanted.append((rule, picture.shape, to_tensor(picture, spec)[0]))
    for answer, (rule, shape, want) in zip(ask(jobs), wanted, strict=True):
        got = decoded(answer["value"], np.float32).reshape(want.shape)
        np.testing.assert_array_equal(got, want, err_msg=f"{rule} {shape}")


def test_transparency_is_laid_over_white_alike(tmp_path: Path) -> None:
    picture = RNG.integers(0, 256, (32, 48, 4), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "a.png")
    spec = spec_of(Preprocess())
    (answer,) = ask([{"command": "tensor", "picture": rgba(picture), "spec": spec.to_json()}])
    want = to_tensor(open_picture(tmp_path / "a.png"), spec)[0]
    np.testing.assert_array_equal(decoded(answer["value"], np.float32), want.ravel())


def test_outputs_become_the_same_pictures() -> None:
    jobs, wanted = [], []
    rules = [
        *(Postprocess(filter=f) for f in FILTERS),  # type: ignore[arg-type]
        Postprocess(low=None, high=None),
        Postprocess(low=-1.0, high=1.0, colour="RGB", filter="bicubic"),
        Postprocess(low=-0.1, high=0.7, colour="BGR"),
    ]
    for rule, (height, width), resize in product(rules, SIZES, RESIZES):
        where = place(width, height, 48, 32, Preprocess(resize=resize))  # type: ignore[arg-type]
        channels = 1 if rule.colour == "GRAY" else 3
        tensor = RNG.normal(0.4, 0.5, (1, channels, 16, 24)).astype(np.float32)
        jobs.append(
            {
                "command": "picture",
                "tensor": {"shape": tensor.shape, "data": encoded(tensor)},
                "rule": asdict(rule),
                "placement": asdict(where),
            }
        )
        wanted.append((rule, to_picture(tensor, rule, where)))
    for answer, (rule, want) in zip(ask(jobs), wanted, strict=True):
        shown = want if want.ndim == 3 else np.repeat(want[..., None], 3, axis=2)
        got = decoded(answer["value"], np.uint8).reshape(*shown.shape[:2], 4)
        np.testing.assert_array_equal(got[..., :3], shown, err_msg=str(rule))
        assert (got[..., 3] == 255).all()


def test_a_bundle_goes_from_pixels_to_pixels_in_node(shared: Path, tmp_path: Path) -> None:
    folder = shared / "dist" / "tiny-web"
    job = {
        "command": "run",
        "node": str(NODE),
        "bundle": str(folder),
        "input": "image",
        "output": "shade",
        "picture": rgba(open_picture(PHOTO)),
    }
    (answer,) = ask([job], folder / "mlship.mjs")
    run_bundle(folder, PHOTO, (), None, tmp_path / "want.png")
    want = open_picture(tmp_path / "want.png")
    got = decoded(answer["value"]["data"], np.uint8).reshape(*want.shape[:2], 4)
    np.testing.assert_array_equal(got[..., :3], want)


def test_only_the_files_of_the_manifest_are_loaded(shared: Path) -> None:
    folder = shared / "dist" / "tiny-web"
    (shard,) = (p.name for p in (folder / "tiny.tfjs").glob("*.bin"))
    model, weights = "tiny.tfjs/model.json", f"tiny.tfjs/{shard}"
    size = (folder / weights).stat().st_size
    changes: dict[str, dict[str, Any]] = {
        "honest": {},
        "graph": {"file": model, "at": 40},
        **{f"weights {at}": {"file": weights, "at": at} for at in (0, size // 2, size - 1)},
        "unchecked": {"file": weights, "at": 0, "options": {"check": False}},
        "http": {"insecure": True},
        "http, unchecked": {"insecure": True, "options": {"check": False}},
    }
    job = {"command": "fetch", "node": str(NODE), "bundle": str(folder), "changes": changes}
    said = ask([job], folder / "mlship.mjs")[0]["value"]
    assert {label for label, error in said.items() if not error} == {
        *("honest", "unchecked", "http, unchecked")
    }
    assert said["graph"] == f"{model} is not the file of the manifest"
    for at in (0, size // 2, size - 1):
        assert said[f"weights {at}"] == f"{weights} is not the file of the manifest"
    assert "digests need https" in said["http"]


@pytest.mark.parametrize(
    ("job", "message"),
    [
        ({"picture": {"width": 2, "height": 2, "data": ""}}, "16 bytes"),
        ({"spec": {"name": "x", "preprocess": None, "shape": [1]}}, "takes no picture"),
        ({"spec": spec_of(Preprocess(filter="area")).to_json()}, ""),
    ],
)
def test_bad_input_is_said(job: dict[str, Any], message: str) -> None:
    whole = {
        "command": "tensor",
        "picture": rgba(np.zeros((2, 2, 3), np.uint8)),
        "spec": spec_of(Preprocess()).to_json(),
    }
    (answer,) = ask([whole | job])
    assert message in answer.get("error", "")


def test_the_wrong_range_order_or_filter_would_be_seen() -> None:
    """The comparison above is worth something: each single change of the rule shows."""
    picture = RNG.integers(0, 256, (50, 70, 3), dtype=np.uint8)
    want = to_tensor(picture, spec_of(Preprocess()))[0]
    for other in (
        Preprocess(colour="BGR"),
        Preprocess(filter="nearest"),
        Preprocess(std=(127.5,) * 3, mean=(127.5,) * 3),
        Preprocess(resize="letterbox"),
    ):
        job = {"command": "tensor", "picture": rgba(picture), "spec": spec_of(other).to_json()}
        got = decoded(ask([job])[0]["value"], np.float32).reshape(want.shape)
        assert not np.allclose(got, want, atol=1e-3)
