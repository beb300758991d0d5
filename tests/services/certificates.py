"""Certificates for servers of tests, made by openssl: an authority, and a key with a certificate that it signed."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.services.tools import require_program


@dataclass(frozen=True, kw_only=True)
class Certificates:
    """Files: the authority to trust, and the server's key and certificate."""

    authority: Path
    key: Path
    certificate: Path


def make_certificates(folder: Path, name: str = "localhost") -> Certificates:
    """An authority of its own and a server of this DNS name, valid for a day."""
    folder.mkdir(exist_ok=True)
    made = Certificates(authority=folder / "ca.crt", key=folder / "server.key", certificate=folder / "server.crt")
    ca_key = folder / "ca.key"
    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1")
    _openssl("req", "-x509", *new_key, "-subj", "/CN=test authority", "-keyout", ca_key, "-out", made.authority)
    names = ("-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}")
    signed = ("-CA", made.authority, "-CAkey", ca_key)
    _openssl("req", "-x509", *new_key, *names, *signed, "-keyout", made.key, "-out", made.certificate)
    made.key.chmod(0o600)
    return made


def _openssl(*arguments: object) -> None:
    argv = [str(require_program("openssl")), *map(str, arguments)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr
