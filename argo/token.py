"""Bearer tokens: a file of their digests, written by `argo token`, read again by the services when it changes.

A token is `argo_<id>_<secret>`. The id says which entry is meant, and stands in lists and logs; the secret is 32 random
bytes, of which only the SHA-256 is kept. Slow password hashes are for secrets that people choose: 256 random bits
cannot be searched for, however fast the digest is, and a slow one would be paid at every call.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import hmac
import json
import os
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from argo.errors import InvalidArgumentError, NotFoundError, UnauthenticatedError
from argo.file_state import file_state, replace_file
from argo.identity import Identity, Role

__all__ = ["TokenBook", "TokenEntry", "create", "read_tokens", "revoke"]

_TOKEN: Final = re.compile(r"argo_([0-9a-f]{8})_([A-Za-z0-9_-]{43})")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_LOOK_EVERY_S: Final = 1.0
_SECRET_BYTES: Final = 32
_NOBODY: Final = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True)
class TokenEntry:
    """One line of the file."""

    id: str
    name: str
    tenant: str
    roles: frozenset[Role]
    digest: str
    """SHA-256 of the secret in lower-case hexadecimal."""
    created_at: str
    expires_at_s: float | None = None
    """Unix seconds; None for never."""

    @property
    def identity(self) -> Identity:
        """Who shows this token."""
        return Identity(self.name, self.tenant, self.roles)


def read_tokens(path: Path) -> dict[str, TokenEntry]:
    """Read a token file.

    Returns:
        Entries by id.

    Raises:
        InvalidArgumentError: It cannot be read, others than its owner may read it, or an entry is wrong; named by line.
    """
    try:
        with path.open(encoding="utf-8") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgumentError(f"token_file must be a readable file of tokens, got {path}: {error}") from None
    if mode & 0o077:
        raise InvalidArgumentError(f"token_file must be readable by its owner alone (mode 600), got {path}")
    entries: dict[str, TokenEntry] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            entry = _entry(line, f"{path}: line {number}")
            entries[entry.id] = entry
    return entries


def _entry(line: str, where: str) -> TokenEntry:
    try:
        fields: dict[str, Any] = json.loads(line)
        entry = TokenEntry(
            id=str(fields["id"]),
            name=str(fields["name"]),
            tenant=str(fields["tenant"]),
            roles=frozenset(Role(role) for role in fields["roles"]),
            digest=str(fields["sha256"]),
            created_at=str(fields["created_at"]),
            expires_at_s=None if fields.get("expires_at_s") is None else float(fields["expires_at_s"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidArgumentError(
            f"token_file must hold one token a line, as `argo token` writes it; {where}: {error}"
        ) from None
    _check_name("name", entry.name)
    _check_name("tenant", entry.tenant)
    return entry


def _check_name(field: str, value: str) -> None:
    if not _NAME.fullmatch(value):
        raise InvalidArgumentError(
            f"{field} must be 1 to 64 letters, digits and any of . _ @ -, the first a letter or digit, got {value!r}"
        )


def create(
    path: Path, name: str, tenant: str, roles: Sequence[Role], expires_at_s: float | None = None
) -> tuple[str, TokenEntry]:
    """Make a token and add it to the file, which is made when missing.

    Args:
        path: The token file.
        name: Whose it is, for lists and logs.
        tenant: Whose sessions it sees.
        roles: What it may do, at least one.
        expires_at_s: Unix seconds from which it is refused; None for never.

    Returns:
        The token, which is shown here and never again, and its entry.

    Raises:
        InvalidArgumentError: A name, the roles or the file is wrong.
    """
    _check_name("name", name)
    _check_name("tenant", tenant)
    if not roles:
        raise InvalidArgumentError(f"role must be at least one of {', '.join(Role)}, got none")
    entries = read_tokens(path) if path.exists() else {}
    secret = base64.urlsafe_b64encode(secrets.token_bytes(_SECRET_BYTES)).rstrip(b"=").decode()
    token_id = secrets.token_hex(4)
    while token_id in entries:
        token_id = secrets.token_hex(4)
    entry = TokenEntry(
        id=token_id,
        name=name,
        tenant=tenant,
        roles=frozenset(roles),
        digest=hashlib.sha256(secret.encode()).hexdigest(),
        created_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        expires_at_s=expires_at_s,
    )
    _write(path, [*entries.values(), entry])
    return f"argo_{token_id}_{secret}", entry


def revoke(path: Path, token_id: str) -> TokenEntry:
    """Take a token out of the file; services refuse it within seconds.

    Raises:
        NotFoundError: No token has this id.
        InvalidArgumentError: The file is wrong.
    """
    entries = read_tokens(path)
    entry = entries.pop(token_id, None)
    if entry is None:
        raise NotFoundError(f"id {token_id!r} is not in {path}")
    _write(path, list(entries.values()))
    return entry


def _write(path: Path, entries: Sequence[TokenEntry]) -> None:
    """Replace the file as a whole: a service that reads it meanwhile sees the one before."""
    lines = [
        json.dumps(
            {
                "id": entry.id,
                "name": entry.name,
                "tenant": entry.tenant,
                "roles": sorted(entry.roles),
                "sha256": entry.digest,
                "created_at": entry.created_at,
                "expires_at_s": entry.expires_at_s,
            }
        )
        for entry in entries
    ]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, "".join(f"{line}\n" for line in lines).encode(), 0o600)
    except OSError as error:
        raise InvalidArgumentError(f"token_file must be in a writable folder, got {path}: {error.strerror}") from None


class TokenBook:
    """The tokens that a service accepts; follows its file.

    Args:
        path: The token file.

    Raises:
        InvalidArgumentError: It is wrong. Later on that is kept as :attr:`problem`, and the tokens before stay in use.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = file_state(self._path)
        self._entries = read_tokens(path)
        self._looked_at = time.monotonic()
        self.problem = ""

    def recognise(self, token: str) -> Identity:
        """Who shows this token.

        Raises:
            UnauthenticatedError: It is none of ours, or has expired.
        """
        self._follow()
        parts = _TOKEN.fullmatch(token)
        entry = self._entries.get(parts[1]) if parts else None
        # The same work whether or not there is such an id, and no early end at the first wrong digit.
        digest = hashlib.sha256((parts[2] if parts else "").encode()).hexdigest()
        right = hmac.compare_digest(digest, entry.digest if entry else _NOBODY)
        if entry is None or not right:
            raise UnauthenticatedError(
                "the bearer token is not known here; `argo token list` on the server shows which are"
            )
        if entry.expires_at_s is not None and time.time() >= entry.expires_at_s:
            raise UnauthenticatedError(f"the bearer token {entry.id} of {entry.name} has expired")
        return entry.identity

    def _follow(self) -> None:
        now = time.monotonic()
        if now - self._looked_at < _LOOK_EVERY_S:
            return
        self._looked_at = now
        state = file_state(self._path)
        if state == self._seen:
            return
        self._seen = state
        try:
            self._entries = read_tokens(self._path)
            self.problem = ""
        except InvalidArgumentError as error:
            self.problem = str(error)
