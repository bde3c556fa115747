"""How weights were trained, as cards say it."""

from __future__ import annotations

from typing import Any

from model_defs.spec import ModelSpec
from toolchain.bundle.files import file_digest


def commands(runs: list[dict[str, Any]]) -> list[str]:
    """The commands that made the weights, in a fenced block."""
    lines, base = [], ""
    for number, run in enumerate(runs, 1):
        if "pruned" in run:
            lines.append(f"# pruned: {'; '.join(run['pruned'])}")
            continue
        out = f"runs/{number}"
        lines.append(_command(run, base, out))
        base = f"{out}/weights.safetensors"
    return ["```console", *lines, "```"]


def how(runs: list[dict[str, Any]]) -> list[str]:
    """How, and how far the commands give the same again."""
    if not any(run["steps"] for run in runs):
        return [
            "No step was trained: this is where training starts, and the command gives it again."
        ]
    return [
        "AdamW, warm-up and cosine, moving average of the weights. The commands give such a net,",
        "not the same bits: training was still being made faster between one stage and the next.",
    ]


def _command(run: dict[str, Any], base: str, out: str) -> str:
    parts = [f"mlship train {run['model']}", f"--from {base}" if base else ""]
    parts += [f"--{key} {run[key]:g}" for key in ("steps", "batch", "rate", "size", "seed")]
    parts += ["--half" if run["half"] else "", f"--out {out}"]
    return "$ " + " ".join(part for part in parts if part)


def of_fewer_channels(spec: ModelSpec) -> list[str]:
    """A section on the weights that `fast` and `smallest` ship; empty if there are none."""
    from toolchain.training.weights import history

    if spec.pruned is None:
        return []
    return [
        "## With fewer channels",
        "",
        f"`{spec.pruned.name}`, sha256 `{file_digest(spec.pruned)}`,",
        "which the recipes `fast` and `smallest` ship, is pruned by `mlship prune` and trained on;",
        "its figures are in [what each recipe is worth](../../benchmarks/results/recipes.md).",
        "",
        *commands(history(spec.pruned)),
        "",
    ]
