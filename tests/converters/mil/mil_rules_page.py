"""The page of Core ML's rules.

`python -m tests.converters.mil.mil_rules_page` remakes `docs/core-ml-rules.md`; a test says that
it is current.
"""

from __future__ import annotations

from pathlib import Path

from converters import mil
from converters.mil.rules import RULES
from converters.mil.rules.rule import ANY, CoreMlRule

PAGE = Path(mil.__file__).parents[2] / "docs" / "core-ml-rules.md"
MIL = "https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html"
DEFINITIONS = "coremltools.converters.mil.mil.ops.defs"

KINDS = {
    "loader": (
        "What Core ML does not load",
        "A package that does one of these is not run by our interpreter, so that it never passes "
        "parity, wherever it comes from; `build` writes something else or refuses.",
    ),
    "runtime": (
        "What Core ML computes otherwise than PyTorch",
        "Our interpreter computes it as Core ML does, or refuses it where no report says what "
        "comes out; `build` writes what both agree on.",
    ),
    "unit": (
        "What goes wrong on one unit of a machine",
        "A warning of `build` (among the bundle's notes) and of `audit`. Try such a model on a "
        "device, or keep it off that unit: `mlship build --compute cpu_and_ne`.",
    ),
}


def link(source: str) -> str:
    """A source as Markdown: a thread, a file of a repository, or a page of Apple's."""
    kind, _, rest = source.partition(":")
    if kind == "mil":
        return f"[{rest}]({MIL}#{DEFINITIONS}.{rest})"
    if kind == "chromium":
        return f"[Chromium](https://source.chromium.org/chromium/chromium/src/+/main:{rest})"
    if source.startswith("crbug/"):
        return f"[{source}](https://crbug.com/{source.removeprefix('crbug/')})"
    repository, _, number = source.partition("#")
    if number:
        short = repository.partition("/")[2]
        return f"[{short}#{number}](https://github.com/{repository}/issues/{number})"
    name = rest.rpartition("/")[2]
    return f"[{name}](https://github.com/{kind}/blob/main/{rest})"


def row(rule: CoreMlRule) -> str:
    operators = "all" if ANY in rule.operators else ", ".join(rule.operators)
    sources = ", ".join(map(link, rule.source))
    return f"| `{rule.name}` | {operators} | {rule.what} | {rule.instead} | {sources} |"


def page() -> str:
    """The page that is committed."""
    lines = [
        "# Core ML's own rules",
        "",
        "Generated from `converters/mil/rules/` by "
        "`python -m tests.converters.mil.mil_rules_page`.",
        "",
        f"{len(RULES)} rules that neither PyTorch nor a converter tells. None was seen on a device "
        "here: they are what others report of Core ML, what Apple documents of its operations "
        "(MIL), and what backends for Core ML found out. Each has a program in "
        "`tests/converters/mil/mil_rules.py` that breaks it.",
    ]
    for kind, (title, about) in KINDS.items():
        lines += ["", f"## {title}", "", about, ""]
        lines += ["| rule | operators | Core ML | we write | source |", "|---|---|---|---|---|"]
        lines += [row(rule) for rule in RULES if rule.kind == kind]
    lines += [
        "",
        "## Shapes",
        "",
        "An input whose shapes are enumerated, or whose sizes have a range, is run by our "
        "interpreter in those shapes alone, as by Core ML; several enumerated inputs in the shapes "
        "at one place of their lists "
        f"({link('apple/coremltools#672')}, {link('apple/coremltools#2271')}).",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
