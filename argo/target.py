"""Addresses of services: one, a list of replicas, or a name that stands for several."""

from __future__ import annotations

import ipaddress
from typing import Final

from argo.errors import InvalidArgumentError

__all__ = ["addresses", "check_target", "grpc_name", "is_loopback", "is_replicated"]

_SCHEMES: Final = ("unix:", "dns:", "ipv4:", "ipv6:")
_PORTS: Final = range(1, 65536)


def check_target(field: str, target: str) -> str:
    """Return the target.

    It is host:port, several IP addresses as `10.0.0.1:50052,10.0.0.2:50052`, or a gRPC name with a scheme, such as
    `dns:///decomposer:50052` for all that a name resolves to.

    Raises:
        InvalidArgumentError: It is none of these; the message names the field and the part that is wrong.
    """
    if "://" in target or target.startswith(_SCHEMES):
        return target
    parts = target.split(",")
    for part in parts:
        host, separator, port = part.rpartition(":")
        if not separator or not host or not port.isdigit() or int(port) not in _PORTS:
            raise InvalidArgumentError(f"{field} must be host:port with a port in 1..65535, got {part!r}")
    if len(parts) > 1:
        _check_list(field, parts)
    return target


def _check_list(field: str, parts: list[str]) -> None:
    # What gRPC can take as one list; a name in it would be resolved once and never again.
    versions = {part: _ip_version(part) for part in parts}
    for part, version in versions.items():
        if version is None:
            raise InvalidArgumentError(
                f"{field} must list IP addresses, got {part!r} among {len(parts)}; a name that stands for several "
                f"replicas is given alone, as dns:///{part}"
            )
    if len(set(versions.values())) > 1:
        raise InvalidArgumentError(f"{field} must list addresses of IPv4 or of IPv6, got both in {','.join(parts)!r}")
    if len(versions) < len(parts):
        raise InvalidArgumentError(f"{field} must list each address once, got {','.join(parts)!r}")


def _ip_version(part: str) -> int | None:
    try:
        return ipaddress.ip_address(part.rpartition(":")[0].strip("[]")).version
    except ValueError:
        return None


def addresses(target: str) -> list[str]:
    """Each replica of a checked target where the target lists them; else the target itself."""
    scheme, separator, rest = target.partition(":")
    if separator and scheme in ("ipv4", "ipv6"):
        return rest.split(",")
    return [target] if "://" in target or target.startswith(_SCHEMES) else target.split(",")


def is_replicated(target: str) -> bool:
    """Whether a checked target may stand for several replicas, between which calls are balanced by health."""
    return target.startswith("dns:") or len(addresses(target)) > 1


def grpc_name(target: str) -> str:
    """A checked target as gRPC spells it."""
    listed = addresses(target)
    if len(listed) == 1 or target.startswith(_SCHEMES):
        return target
    return f"ipv{_ip_version(listed[0])}:{target}"


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a host, given as a name, an address, host:port or a Unix socket."""
    if host.startswith("unix:") or host == "localhost" or host.startswith("localhost:"):
        return True
    bare = host[1:].partition("]")[0] if host.startswith("[") else host
    for text in (bare, bare.rpartition(":")[0]):
        try:
            return ipaddress.ip_address(text).is_loopback
        except ValueError:
            continue
    return False
