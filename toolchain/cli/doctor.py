"""`mlship doctor`: what is installed."""

from __future__ import annotations

from toolchain.cli.command import command, print_json


@command
def doctor(as_json: bool) -> int:
    """Say what is installed, which backends run here, and what to do about the rest."""
    from toolchain.debug import doctor
    from toolchain.report import doctor_table

    findings = doctor.examine()
    if as_json:
        print_json([f.to_json() for f in findings])
    else:
        doctor_table.show(findings)
    return 1 if any(f.needed and not f.ok for f in findings) else 0
