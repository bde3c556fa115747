"""The files of a project of one's own, as `mlship init` writes them."""

from __future__ import annotations

from pathlib import Path

from model_defs.errors import CannotWrite
from toolchain.bundle.files import write_whole

HERE = Path(__file__).parent
FILES = {
    "mlship.toml": "mlship.toml.txt",
    "my_net.py": "my_net.py.txt",
    ".github/workflows/mlship.yml": "workflow.yml.txt",
    ".gitignore": "gitignore.txt",
}
"""Where each file goes, and what it is called here."""


def init(folder: Path) -> list[Path]:
    """Write the files into a folder, which is made; CannotWrite where one is there already."""
    wanted = {
        folder / name: (HERE / text).read_text(encoding="utf-8") for name, text in FILES.items()
    }
    there = [path for path in wanted if path.exists()]
    if there:
        raise CannotWrite(
            f"{there[0].name} is there already", where=str(there[0]), do="choose an empty folder"
        )
    for path, text in wanted.items():
        write_whole(path, text)
    return list(wanted)
