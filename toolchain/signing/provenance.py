"""How a bundle came to be: an in-toto statement (v1) with a predicate of SLSA provenance (v1).

Subjects are the bundle's files. Model, target and recipe are the external parameters, the weights'
file and mlship.lock, where there are such, the resolved dependencies, and the versions of the tools
those of the builder.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from toolchain.bundle.bundle import Bundle
from toolchain.ci import lock
from toolchain.signing.facts import BuildFacts

if TYPE_CHECKING:
    from in_toto_attestation.v1.resource_descriptor import ResourceDescriptor

NAME = "provenance.intoto.json"
PREDICATE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:mlship:build:1"
"""What our parameters and dependencies mean: what this module says."""
BUILDER = "urn:mlship:build"
WEIGHTS = "weights"


def write(bundle: Bundle, lock_digest: str | None) -> str:
    """The statement of a bundle that is whole and, where there is a lock, as locked."""
    from google.protobuf import json_format
    from in_toto_attestation.predicates.provenance.v1.provenance_pb2 import Provenance
    from in_toto_attestation.v1.resource_descriptor import ResourceDescriptor
    from in_toto_attestation.v1.statement import Statement

    facts = BuildFacts.of(bundle)
    predicate = _predicate(bundle, facts, lock_digest)
    json_format.ParseDict(predicate, Provenance())  # no field that SLSA does not have
    subjects = [
        ResourceDescriptor(name=name, digest={"sha256": digest}).pb
        for name, digest in facts.files.items()
    ]
    statement = Statement(subjects, PREDICATE, predicate)
    statement.validate()
    return json.dumps(json_format.MessageToDict(statement.pb), indent=1, sort_keys=True) + "\n"


def _predicate(bundle: Bundle, facts: BuildFacts, lock_digest: str | None) -> dict[str, Any]:
    from google.protobuf import json_format

    origin = facts.weights
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {
                "model": facts.model,
                "target": facts.target,
                "recipe": list(facts.recipe),
                "weights": origin.kind,
            },
            "internalParameters": {"manifest": dict(lock.Locked.of(bundle).says)},
            "resolvedDependencies": [
                json_format.MessageToDict(one.pb) for one in _dependencies(facts, lock_digest)
            ],
        },
        "runDetails": {"builder": {"id": BUILDER, "version": dict(facts.tools)}},
    }


def _dependencies(facts: BuildFacts, lock_digest: str | None) -> Iterator[ResourceDescriptor]:
    from in_toto_attestation.v1.resource_descriptor import ResourceDescriptor

    origin = facts.weights
    if origin.kind == "file":
        of_weights = {"is": WEIGHTS}
        yield ResourceDescriptor(
            name=origin.file, digest={"sha256": origin.sha256}, annotations=of_weights
        )
    if lock_digest:
        yield ResourceDescriptor(name=lock.NAME, digest={"sha256": lock_digest})


def read(data: dict[str, Any]) -> BuildFacts:
    """What a statement says. KeyError, TypeError, ValueError, AttributeError for what is none."""
    from pydantic import TypeAdapter

    build = data["predicate"]["buildDefinition"]
    if (data["predicateType"], build["buildType"]) != (PREDICATE, BUILD_TYPE):
        raise ValueError(f"it is no statement of a build of mlship: {build['buildType']}")
    said, parts = build["externalParameters"], build["resolvedDependencies"]
    weights = next((p for p in parts if p.get("annotations", {}).get("is") == WEIGHTS), None)
    origin = {"file": weights["name"], "sha256": weights["digest"]["sha256"]} if weights else {}
    found = {
        **{name: said[name] for name in ("model", "target", "recipe")},
        "weights": {"kind": said["weights"], **origin},
        "tools": data["predicate"]["runDetails"]["builder"].get("version", {}),
        "files": {one["name"]: one["digest"]["sha256"] for one in data["subject"]},
    }
    return TypeAdapter(BuildFacts).validate_python(found)
