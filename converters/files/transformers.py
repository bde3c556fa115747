"""A folder of transformers: config.json, safetensors, perhaps a preprocessor_config.json."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import nn

from converters.files.example import described
from converters.files.request import FileRequest, InputExample
from converters.signature import tensor_name
from model_defs.errors import BackendUnavailable, BadArtifact, BadSpec
from model_defs.spec import Filter, ModelSpec, Preprocess, Resize

OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
FILTERS: Mapping[int, Filter] = {0: "nearest", 2: "bilinear", 3: "bicubic", 4: "area"}
"""Pillow's numbers of filters, by which `resample` names them."""
TRUST = (
    "pass --trust-pickle (trust_pickle=True) if you trust whoever made it: the folder's own Python "
    "files are run"
)


def read(request: FileRequest) -> ModelSpec:
    """The specification of the model that a folder's config names, with its weights.

    Picture sizes, mean and std are those of preprocessor_config.json, where there is one. Nothing
    is fetched from anywhere. Raises BadArtifact for a folder that is none or is to be trusted
    first, BackendUnavailable without transformers.
    """
    folder = request.path
    config = _json(folder / "config.json")
    prepared = folder / "preprocessor_config.json"
    rules = _json(prepared) if prepared.is_file() else {}
    if config.get("auto_map") and not request.trust_pickle:
        raise BadArtifact(
            "the model is code of its own (auto_map)", where=str(folder / "config.json"), do=TRUST
        )
    with offline():
        module = _module(folder, config, trust_pickle=request.trust_pickle)
    name = str(getattr(module, "main_input_name", "pixel_values"))
    said = request.of((name,)).get(name) or InputExample(name, _shape(request, config, rules))
    rule = _rule(rules, said.shape) if said.dtype == "float32" else None
    if said.low is None and said.dtype == "float32":
        low, high = _bounds(rule)
        said = replace(said, low=low, high=high)
    fed, notes = {tensor_name(name): said.tensor()}, [_note(rules)] if rule else []
    spec = described(folder, module, fed, notes, _Call(name))
    taken = replace(spec.inputs[0], low=said.low, high=said.high)
    if rule:
        taken = replace(taken, kind="image", preprocess=rule)
    return replace(spec, inputs=(taken,), call=_Call(name))


class _Call:
    """Calls a model with its input by name, as transformers' models want it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, module: Any, tensor: torch.Tensor) -> Any:
        return module(**{self.name: tensor})


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BadArtifact(f"the file cannot be read: {error}", where=str(path)) from error
    if not isinstance(found, dict):
        raise BadArtifact("the file holds no object of JSON", where=str(path))
    return found


@contextlib.contextmanager
def offline() -> Iterator[None]:
    """Nothing is asked of the network; torchvision is hidden where it is of another PyTorch.

    transformers imports it where it is installed, and fails as a whole where that fails.
    """
    broken = False
    try:
        import torchvision  # noqa: F401
    except Exception:  # of another PyTorch, it raises a RuntimeError
        broken = True
    modules: dict[str, Any] = sys.modules  # None hides one
    if broken:
        modules["torchvision"] = None
    try:
        with mock.patch.dict(os.environ, OFFLINE):
            yield
    finally:
        if broken:
            del modules["torchvision"]


def _module(folder: Path, config: Mapping[str, Any], *, trust_pickle: bool) -> nn.Module:
    names = config.get("architectures") or []
    if not names:
        raise BadArtifact(
            "the config names no architecture",
            where=str(folder / "config.json"),
            do='write "architectures": ["SegformerForSemanticSegmentation"] or the like into it',
        )
    if not any(folder.glob("*.safetensors")) and not trust_pickle:
        raise BadArtifact("the folder has no weights in safetensors", where=str(folder))
    try:
        import transformers
        from transformers.utils import logging
    except ImportError as error:
        raise BackendUnavailable(
            "transformers is not installed", do="pip install mlship-toolchain[transformers]"
        ) from error
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        kind = _class(transformers, names[0], config)
        options = {"local_files_only": True, "dtype": torch.float32, "attn_implementation": "sdpa"}
        if trust_pickle:
            options["trust_remote_code"] = True
        else:
            options["use_safetensors"] = True
        try:
            loaded = kind.from_pretrained(folder, output_loading_info=True, **options)
        except ValueError:  # a model that has no such attention
            options["attn_implementation"] = "eager"
            loaded = kind.from_pretrained(folder, output_loading_info=True, **options)
    except BadArtifact:
        raise
    except Exception as error:  # their code, on anybody's config
        said = (str(error).strip().splitlines() or [""])[0]
        raise BadArtifact(
            f"transformers cannot load the folder: {type(error).__name__}: {said}",
            where=str(folder),
        ) from error
    module, info = loaded
    missing = sorted(info.get("missing_keys") or ())
    if missing:
        raise BadArtifact(
            f"the folder's weights are not all: {len(missing)} missing: {', '.join(missing[:4])}",
            where=str(folder),
        )
    found: nn.Module = module
    return found


def _class(transformers: Any, name: str, config: Mapping[str, Any]) -> Any:
    """The class of that name; of code of its own, the auto class that maps to it."""
    own = next((k for k in config.get("auto_map", {}) if k.startswith("AutoModel")), None)
    kind = getattr(transformers, own or name, None)
    if kind is None:
        raise BadArtifact(f"transformers {transformers.__version__} has no {name}")
    return kind


def _shape(
    request: FileRequest, config: Mapping[str, Any], rules: Mapping[str, Any]
) -> tuple[int, ...]:
    """The preprocessor's size of pictures, else the config's."""
    channels = int(config.get("num_channels") or 3)
    crop = rules.get("crop_size") if rules.get("do_center_crop") else None
    for size in (crop, rules.get("size"), config.get("image_size")):
        found = _height_and_width(size)
        if found is not None:
            return (1, channels, *found)
    raise BadSpec(
        "the folder does not say what size of picture the model takes",
        where=str(request.path),
        do=f"say it: --example 1,{channels},224,224",
    )


def _height_and_width(size: Any) -> tuple[int, int] | None:
    if isinstance(size, int):
        return size, size
    if isinstance(size, list) and len(size) == 2:
        return int(size[0]), int(size[1])
    if isinstance(size, Mapping):
        if "height" in size and "width" in size:
            return int(size["height"]), int(size["width"])
        edge = size.get("shortest_edge")
        return (int(edge), int(edge)) if edge else None
    return None


def _rule(rules: Mapping[str, Any], shape: tuple[int, ...]) -> Preprocess | None:
    """How a picture becomes the input; None where it is none."""
    if len(shape) != 4 or shape[0] != 1 or shape[1] != 3:
        return None
    if not rules:
        return Preprocess()
    # transformers: (pixel * factor - mean) / std; ours: (pixel - mean) / std of 0..255.
    factor = float(rules.get("rescale_factor", 1 / 255)) if rules.get("do_rescale", True) else 1.0
    normalized = rules.get("do_normalize", "image_mean" in rules)
    mean = rules.get("image_mean", [0.0] * 3) if normalized else [0.0] * 3
    std = rules.get("image_std", [1.0] * 3) if normalized else [1.0] * 3
    resize: Resize = "crop" if rules.get("do_center_crop") else "stretch"
    return Preprocess(
        resize=resize,
        filter=FILTERS.get(int(rules.get("resample", 2)), "bilinear"),
        mean=tuple(round(float(m) / factor, 6) for m in mean),
        std=tuple(round(float(s) / factor, 6) for s in std),
    )


def _bounds(rule: Preprocess | None) -> tuple[float, float]:
    """What a pixel of 0 and one of 255 become, of the channels that become most."""
    if rule is None:
        return 0.0, 1.0
    pairs = [*zip(rule.mean, rule.std, strict=True)]
    low = min(-mean / std for mean, std in pairs) + 0.0
    return round(low, 6), round(max((255 - mean) / std for mean, std in pairs), 6)


def _note(rules: Mapping[str, Any]) -> str:
    where = "preprocessor_config.json says" if rules else "there is no preprocessor_config.json"
    return f"{where} how pictures are fed" if rules else f"{where}: pixels of 0 to 1 are taken"
