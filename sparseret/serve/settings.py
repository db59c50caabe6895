"""What a service may be told: where it listens, how much it takes on, what it refuses."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass, field

from sparseret.errors import ConfigurationError

__all__ = ["Settings", "is_loopback"]

_MiB = 2**20


@dataclass(frozen=True, slots=True)
class Settings:
    """Limits and addresses of a service; sizes in bytes, times in seconds.

    Raises:
        ConfigurationError: a limit below 1, or an open service without keys.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    """0 takes any free one."""
    hosts: tuple[str, ...] = ()
    """Names, besides the address itself, by which clients may call the service; other ``Host``
    headers are refused, so that no web page can reach it under a name of its own. "*" takes all,
    as any public address does."""
    cors_origins: tuple[str, ...] = ()
    """Origins whose pages may use the service; none by default."""
    has_keys: bool = False
    insecure: bool = False
    """Whether a public address may be served without keys."""
    threads: int = field(default_factory=lambda: max(4, os.cpu_count() or 1))
    """Requests that are worked on at once; writes have threads of their own."""
    queue: int = 128
    """Requests that may wait for a thread; more are refused with 429."""
    write_queue: int = 32
    timeout: float = 30.0
    """Of a request that reads."""
    write_timeout: float = 600.0
    body_timeout: float = 30.0
    """In which a request must have arrived, headers and body; of a long one, every 64 KiB."""
    shutdown_timeout: float = 60.0
    """In which accepted requests are finished when the service is stopped."""
    max_connections: int = 1000
    max_body: int = 4 * _MiB
    """Of a request in JSON."""
    max_documents_body: int = 64 * _MiB
    """Of a request that brings documents."""
    max_k: int = 1000
    max_inputs: int = 32
    """Texts of one request for vectors, scores or tokens."""
    max_batch: int = 32
    """Texts of several requests that a model reads together."""
    refresh: float = 1.0
    """How often to look whether another process has changed an index."""

    def __post_init__(self) -> None:
        for name in ("threads", "queue", "write_queue", "timeout", "write_timeout", "body_timeout",
                     "shutdown_timeout", "max_connections", "max_body", "max_documents_body",
                     "max_k", "max_inputs", "max_batch", "refresh"):  # fmt: skip
            value = getattr(self, name)
            if not value > 0:
                raise ConfigurationError(f"{name} must be above 0, got {value!r}")
        if not 0 <= self.port < 2**16:
            raise ConfigurationError(f"port must be 0 to 65535, got {self.port}")
        if not (self.has_keys or self.insecure or is_loopback(self.host)):
            raise ConfigurationError(
                f"{self.host} can be reached from other machines, and there is no key: make one "
                "with `sparseret keys add FILE` and give --keys FILE, or say --insecure"
            )

    @property
    def allowed_hosts(self) -> tuple[str, ...] | None:
        """Values of ``Host``, without ports, that are answered; None for all."""
        if "*" in self.hosts or not (self.hosts or is_loopback(self.host)):
            return None
        return ("localhost", "127.0.0.1", "[::1]", self.host.lower(), *map(str.lower, self.hosts))


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:  # a name: who knows
        return False
