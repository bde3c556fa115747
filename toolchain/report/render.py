"""Our templates, filled: pages that hold everything in themselves."""

from __future__ import annotations

from pathlib import Path

from benchmarks.measure.templates import environment

TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, **values: object) -> str:
    """A template of ours with these values, all of them escaped."""
    return environment(TEMPLATES).get_template(template).render(values)
