"""What a bundle was made of, as both documents beside its signature say it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields

from toolchain.bundle.bundle import Bundle
from toolchain.bundle.files import MANIFEST, file_digest
from toolchain.bundle.weights import WeightsOrigin


@dataclass(frozen=True)
class BuildFacts:
    """The model, how it was built, with which tools, and the SHA-256 of every file, by path."""

    model: str
    target: str
    recipe: tuple[str, ...]
    weights: WeightsOrigin
    tools: Mapping[str, str]
    files: Mapping[str, str]

    @classmethod
    def of(cls, bundle: Bundle) -> BuildFacts:
        """Those of a bundle that was read and found whole; its manifest is one of the files."""
        said = bundle.manifest
        return cls(
            model=said.model.name,
            target=said.target,
            recipe=(said.recipe.name, *said.recipe.passes),
            weights=said.model.weights,
            tools=dict(said.tools),
            files={
                MANIFEST: file_digest(bundle.directory / MANIFEST),
                **{name: entry.sha256 for name, entry in said.files.items()},
            },
        )


def differences(said: BuildFacts, found: BuildFacts) -> Iterator[str]:
    """What a document says otherwise than a bundle: fields, and of tables their keys."""
    for field in fields(BuildFacts):
        one, other = getattr(said, field.name), getattr(found, field.name)
        if isinstance(one, Mapping):
            keys = sorted({*one, *other})
            yield from (f"{field.name}: {k}" for k in keys if one.get(k) != other.get(k))
        elif one != other:
            yield field.name
