"""A bundle's bill of materials: CycloneDX 1.6, the same bytes for the same bundle.

The bundle is a `machine-learning-model`; its files are components with their SHA-256, its weights
are one of type `data`, the tools that built it are the document's tools, with package URLs.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import UUID

from model_defs.installation import DISTRIBUTION
from toolchain.bundle.bundle import Bundle
from toolchain.signing.facts import BuildFacts

if TYPE_CHECKING:
    from cyclonedx.model.component import Component

NAME = "sbom.cdx.json"
MODEL, WEIGHTS = "model", "weights"
"""The references of the model and of its weights in the document."""
DISTRIBUTIONS = {"mlship": DISTRIBUTION}
"""What a tool is called on PyPI, where it has another name."""


def write(bundle: Bundle) -> str:
    """The document of a bundle that was read and found whole."""
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.tool import ToolRepository
    from cyclonedx.output.json import JsonV1Dot6

    facts = BuildFacts.of(bundle)
    # Of the manifest, not of chance and the clock: a second signing says the same.
    bom = Bom(serial_number=UUID(bundle.manifest.digest[:32]))
    bom.metadata.timestamp = None  # type: ignore[assignment]
    bom.metadata.component = _model(bundle, facts)
    bom.metadata.tools = ToolRepository(components=[_tool(*one) for one in facts.tools.items()])
    parts = [_file(*one) for one in facts.files.items()] + _weights(facts)
    bom.components.update(parts)
    bom.register_dependency(bom.metadata.component, parts)
    return JsonV1Dot6(bom).output_as_string(indent=1) + "\n"


def _model(bundle: Bundle, facts: BuildFacts) -> Component:
    from cyclonedx.model import Property
    from cyclonedx.model.component import Component, ComponentType

    said = {
        "mlship:target": facts.target,
        "mlship:recipe": json.dumps(facts.recipe),
        "mlship:weights": facts.weights.kind,
    }
    return Component(
        name=facts.model,
        type=ComponentType.MACHINE_LEARNING_MODEL,
        version=bundle.manifest.digest[:12],
        description=bundle.manifest.model.summary,
        bom_ref=MODEL,
        properties=[Property(name=name, value=value) for name, value in said.items()],
    )


def _tool(name: str, version: str) -> Component:
    from cyclonedx.model.component import Component, ComponentType
    from packageurl import PackageURL

    url = PackageURL("pypi", None, DISTRIBUTIONS.get(name, name), version)
    return Component(
        name=name,
        version=version,
        type=ComponentType.LIBRARY,
        purl=url,
        bom_ref=url.to_string(),
    )


def _file(name: str, digest: str, ref: str = "") -> Component:
    from cyclonedx.model import HashAlgorithm, HashType
    from cyclonedx.model.component import Component, ComponentType

    return Component(
        name=name,
        type=ComponentType.DATA if ref else ComponentType.FILE,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)],
        bom_ref=ref or f"file:{name}",
    )


def _weights(facts: BuildFacts) -> list[Component]:
    origin = facts.weights
    return [_file(origin.file, origin.sha256, WEIGHTS)] if origin.kind == "file" else []


def read(data: dict[str, Any]) -> BuildFacts:
    """What a document says. KeyError, TypeError, ValueError, AttributeError for what is none."""
    from pydantic import TypeAdapter

    model = data["metadata"]["component"]
    said = {one["name"].removeprefix("mlship:"): one["value"] for one in model["properties"]}
    parts = data["components"]
    weights = next((p for p in parts if p["bom-ref"] == WEIGHTS), None)
    origin = {"file": weights["name"], "sha256": _digest(weights)} if weights else {}
    found = {
        "model": model["name"],
        "target": said["target"],
        "recipe": json.loads(said["recipe"]),
        "weights": {"kind": said["weights"], **origin},
        "tools": {t["name"]: t["version"] for t in data["metadata"]["tools"]["components"]},
        "files": {p["name"]: _digest(p) for p in parts if p is not weights},
    }
    return TypeAdapter(BuildFacts).validate_python(found)


def _digest(part: dict[str, Any]) -> str:
    return str(next(h["content"] for h in part["hashes"] if h["alg"] == "SHA-256"))
