"""Every example in the documentation is loaded, parsed or run by what it is an example of."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import BaseModel
from ruamel.yaml import YAML

from hdr_responder.actions.registry import registry
from hdr_responder.adapters.http.api import Api
from hdr_responder.adapters.http.endpoint import AnyEndpoint
from hdr_responder.adapters.http.openapi import Problem
from hdr_responder.documents.catalogue import Documents, load
from hdr_responder.documents.playbook_document import Playbook
from hdr_responder.documents.problems import DocumentError
from hdr_responder.engine.simulation.trials import Failure, Trial
from hdr_responder.errors import ConfigError
from hdr_responder.settings import Settings, load_settings
from hdr_responder.settings.structure import known_variables
from tests.unit.docs import commands
from tests.unit.docs.markdown import FILES, ROOT, Block, all_blocks, blocks

FILE_OF = {
    "ServiceCatalogue": "services.yaml",
    "Triage": "triage.yaml",
    "Escalation": "escalation.yaml",
    "Calendar": "calendar.yaml",
}
PLAIN = {"text", "mermaid"}
"""Pictures and output; README's output is compared in tests/integration/docs."""
PROGRAMS = {"make", "hdr-responder", ".venv/bin/hdr-responder", ".venv/bin/pre-commit", "export", "curl", "python"}
ALERTMANAGER_KEYS = {"route", "receivers", "global"}
"""Loaded by amtool in tests/integration/docs."""


def read(text: str) -> Any:
    return YAML(typ="safe").load(text)


def written(folder: Path, documents: Mapping[str, str], playbook: str | None) -> tuple[Path, Path]:
    """Put documents into folders of their own; the shipped fleet stands in for those that an example leaves out."""
    config, playbooks = folder / "config", folder / "playbooks"
    config.mkdir()
    playbooks.mkdir()
    for name in FILE_OF.values():
        text = documents.get(name) or (ROOT / "config" / name).read_text("utf-8")
        (config / name).write_text(text, encoding="utf-8")
    if playbook is not None:
        (playbooks / "example.yaml").write_text(playbook, encoding="utf-8")
    return config, playbooks


def loaded(folder: Path, documents: Mapping[str, str], playbook: str | None = None) -> Documents:
    return load(*written(folder, documents, playbook), registry())


def completed(fragment: Mapping[str, Any]) -> str:
    """A playbook of which only the fragment is the example's."""
    base = read((ROOT / "tests/unit/docs/base-playbook.yaml").read_text("utf-8"))
    if set(fragment) == {"params"}:
        reason = " ".join(f"${{params.{name}}}" for name in fragment["params"])
        base["on_failure"] = [{"action": "incident.escalate", "with": {"reason": reason}}]
    out = io.StringIO()
    YAML(typ="safe").dump({**base, **fragment}, out)
    return out.getvalue()


def failures(documents: Documents) -> list[Failure]:
    """What does not hold of the tests that an example shows."""
    trial = Trial(settings=load_settings(environ={}), documents=documents, registry=registry())
    return [f for playbook in documents.playbooks for t in playbook.model.tests for f in trial.failures(playbook, t)]


def kind_of(data: Mapping[str, Any]) -> str:
    if "kind" in data:
        return str(data["kind"])
    keys = set(data)
    for kind, known in (
        ("fragment", {f.alias or n for n, f in Playbook.model_fields.items()}),
        ("settings", set(Settings.model_fields)),
        ("alertmanager", ALERTMANAGER_KEYS),
    ):
        if keys <= known:
            return kind
    raise AssertionError(f"nothing is known that has the keys {sorted(keys)}")


YAML_BLOCKS = all_blocks("yaml")


@pytest.mark.parametrize("block", YAML_BLOCKS, ids=str)
def test_yaml(block: Block, tmp_path: Path) -> None:
    data = read(block.body)
    match kind_of(data):
        case "Playbook":
            assert len(loaded(tmp_path, {}, block.body).playbooks) == 1
        case "fragment":
            documents = loaded(tmp_path, {}, completed(data))
            assert len(documents.playbooks) == 1
            assert failures(documents) == []
        case "settings":
            path = tmp_path / "responder.yaml"
            text = block.body.replace("/run/secrets", str(tmp_path))
            secrets = {
                "alertmanager-prod-us-tokens": '["a"]',
                "hdr-empire-url": "postgresql://h/d",
                "kubeconfig-us": "",
                "cache-url": "redis://h",
                "status-page-token": "t",
            }
            for name, content in secrets.items():
                (tmp_path / name).write_text(content, encoding="utf-8")
            path.write_text(text, encoding="utf-8")
            load_settings(path, {})
        case "alertmanager":
            assert data["route"]["receiver"] in {r["name"] for r in data["receivers"]}
        case _:
            loaded(tmp_path, fleet_of(block.file))


def fleet_of(file: Path) -> dict[str, str]:
    """The documents beside playbooks that a page shows: they are one fleet and must fit each other."""
    shown = [(read(b.body).get("kind"), b.body) for b in YAML_BLOCKS if b.file == file]
    documents = {FILE_OF[kind]: body for kind, body in shown if kind in FILE_OF}
    assert len(documents) == len(FILE_OF)
    return documents


def test_a_wrong_example_would_be_found(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="no_such_thing"):
        loaded(tmp_path, {}, completed({"steps": [{"id": "a", "action": "kubernetes.no_such_thing"}]}))


def test_readme_shows_the_shipped_playbook() -> None:
    (shown,) = [read(b.body) for b in blocks(ROOT / "README.md") if "kind: Playbook" in b.body]
    shipped = read((ROOT / "playbooks/restart-service.yaml").read_text("utf-8"))
    assert shown == {key: value for key, value in shipped.items() if key != "tests"}


SHELL = [(block, words) for block in all_blocks("sh") for words in commands.lines(block)]


@pytest.mark.parametrize(("block", "words"), SHELL, ids=[f"{b}-{' '.join(w)[:40]}" for b, w in SHELL])
def test_shell(block: Block, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    program, *arguments = words
    assert program in PROGRAMS, f"{block}: {program} is no program of ours"
    match program:
        case "make":
            assert set(arguments) <= commands.make_targets()
        case "hdr-responder" | ".venv/bin/hdr-responder":
            commands.parse_cli(arguments)
        case "export":
            variable, _, value = arguments[0].partition("=")
            assert variable in known_variables()
            if not variable.endswith("_FILE"):
                load_settings(environ={variable: value, "HDR_CONFIG__DIR": "nowhere"})
        case "curl":
            check_curl(commands.parse_curl(arguments))


def check_curl(curl: commands.Curl) -> None:
    if curl.path.startswith("/webhooks/"):
        assert curl.method == "POST"
        assert curl.body is not None
        assert (ROOT / curl.body.removeprefix("@")).is_file()
        return
    found = [e for e in endpoints() if commands.fits(e, curl.method, curl.path)]
    assert len(found) == 1, f"{curl.method} {curl.path} is no endpoint"
    commands.check_request(curl, found[0])
    assert "Bearer " in curl.headers["Authorization"]


def endpoints() -> tuple[AnyEndpoint, ...]:
    nothing: Any = SimpleNamespace(records=None, operations=None, artifacts=None, postmortem=None, clock=None)
    return tuple(Api(nothing).endpoints())


NOT_OFFLINE = {"--diff", "--server-dry-run", "incidents"}
OFFLINE = [
    w[1:]
    for _, w in SHELL
    if w[0].endswith("hdr-responder") and w[1] in {"check", "plan", "simulate", "test"} and not NOT_OFFLINE & set(w)
]
UNIQUE = list(dict.fromkeys(tuple(w) for w in OFFLINE))


@pytest.mark.parametrize("arguments", UNIQUE, ids=" ".join)
def test_offline_commands_run_as_written(arguments: tuple[str, ...]) -> None:
    environ = {k: v for k, v in os.environ.items() if not k.startswith("HDR_")}
    done = subprocess.run(
        [sys.executable, "-m", "hdr_responder", *arguments],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout


@pytest.mark.parametrize("block", all_blocks("json"), ids=str)
def test_json(block: Block) -> None:
    data = json.loads(block.body)
    if not block.note:
        tokens = load_settings(environ={"HDR_HTTP__TOKENS": block.body, "HDR_CONFIG__DIR": "nowhere"}).http.tokens
        assert tokens[0].name
        return
    assert block.note.startswith("answer: ")
    what = block.note.removeprefix("answer: ")
    if what == "GET /readyz":
        assert set(data) == {"status", "checks"}
        assert set(data["checks"]) == {"documents", "draining", "worker", "database"}
        return
    model = Problem if what == "problem" else answer_of(*what.split(" "))
    assert model.model_validate_json(block.body).model_dump(mode="json", exclude_unset=True) == data


def answer_of(method: str, path: str) -> type[BaseModel]:
    (found,) = [e for e in endpoints() if commands.fits(e, method, path)]
    assert isinstance(found.answer, type)
    return found.answer


def test_every_block_is_of_a_kind_that_is_tested() -> None:
    languages = {block.language for file in FILES for block in blocks(file)}
    assert languages <= {"yaml", "sh", "json", *PLAIN}


def test_a_wrong_setting_would_be_found(tmp_path: Path) -> None:
    path = tmp_path / "responder.yaml"
    path.write_text("alertmanager: {tokns: [a]}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="tokns"):
        load_settings(path, {})


@pytest.mark.parametrize(
    "wrong", [["holds", "x", "30m"], ["hold", "x"], ["hold", "x", "soon"], ["report", "--would-have-don"]]
)
def test_a_wrong_command_would_be_found(wrong: list[str]) -> None:
    with pytest.raises(Exception, match=r"holds|length|soon|would-have-don"):
        commands.parse_cli(wrong)
