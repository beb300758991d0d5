"""The playbooks that `check` and `planning` are measured with: the shipped ones and a long one, in many versions."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEN_STEPS = Path(__file__).with_name("ten-steps.yaml")
_SHIPPED = ("isolate-service", "restart-service", "scale-out", "terminate-blocking-query")
_SECTION = re.compile(r"^(?=\w)", re.MULTILINE)
_NAME = re.compile(r"(?<=^  name: )\S+", re.MULTILINE)
_ALERT = re.compile(r"\bHdr\w+")
_PARAM = re.compile(r"^  \w+(?=:)", re.MULTILINE)
_READ = re.compile(r"\bparams\.\w+")


def version(text: str, number: int) -> str:
    """A playbook that is like another, and yet its name and its alerts are named as in no other.

    So are its params, which gives its expressions a scope of their own, where no test of it names them.
    """
    sections = {part.partition(":")[0]: part for part in _SECTION.split(_ALERT.sub(rf"\g<0>{number}", text))}
    sections["metadata"] = _NAME.sub(rf"\g<0>-{number}", sections["metadata"])
    if "tests" not in sections:
        sections["params"] = _PARAM.sub(rf"\g<0>_{number}", sections["params"])
        sections = {name: _READ.sub(rf"\g<0>_{number}", part) for name, part in sections.items()}
    return "".join(sections.values())


def write_playbooks(folder: Path, count: int) -> None:
    """Write so many different playbooks, one file each."""
    folder.mkdir()
    texts = [
        path.read_text("utf-8") for path in (*(ROOT / "playbooks" / f"{name}.yaml" for name in _SHIPPED), TEN_STEPS)
    ]
    for number in range(count):
        text = version(texts[number % len(texts)], number)
        (folder / f"{number:04}.yaml").write_text(text, encoding="utf-8")
