"""The Docker Engine behind one door: a deadline on every call, one kind of error for all that goes wrong.

Nothing else in the package opens a connection to Docker. What Docker answers is returned as its own JSON.
"""

from __future__ import annotations

import base64
import io
import json
import os
import re
import socket
import ssl
import struct
import tarfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import docker
import requests
from docker.errors import APIError, DockerException, NotFound
from docker.transport import UnixHTTPAdapter
from docker.utils import kwargs_from_env

from sandbox_runner.errors import DockerError
from sandbox_runner.sandbox.confinement import Machine, machine_of
from sandbox_runner.sandbox.runtimes import RuntimeChooser

__all__ = ["CALL_DEADLINE_S", "Attachment", "Engine", "PathFacts"]

_PATH_FACTS = "X-Docker-Container-Path-Stat"
_DIRECTORY, _LINK = 1 << 31, 1 << 27  # of a mode as the Engine's language keeps it
_NO_FILE = 0x8F280000  # whatever else than a regular file there is, likewise
_TAR_BYTES = 64 << 10  # around a file in an archive of that file alone
_CORE_PATTERN = Path("/proc/sys/kernel/core_pattern")
_CONNECTIONS = 64  # kept open between calls; more at once than that is nobody's machine
CALL_DEADLINE_S = 30  # a healthy Engine answers in milliseconds; a loaded one in a few seconds
_Answer = TypeVar("_Answer")
_WAY_OUT = "start Docker, or point DOCKER_HOST at an Engine you may use; `sandbox-runner doctor` tells more"


@dataclass(frozen=True, slots=True)
class PathFacts:
    """What stands at a path in a container.

    Attributes:
        is_directory: it is a directory.
        is_file: it is a regular file.
        link: where a symbolic link leads in the end, an absolute path; empty for anything else.
    """

    is_directory: bool
    is_file: bool
    link: str


class Attachment:
    """One container's stdin and stdout as a raw, non-blocking socket."""

    def __init__(self, connection: socket.socket, release: Callable[[], None]) -> None:
        self.connection = connection
        self._release = release
        connection.setblocking(False)

    def hang_up(self) -> None:
        """End the connection for both sides; may be called from any thread and more than once."""
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # already gone

    def close(self) -> None:
        """Hang up and free the descriptor; only the thread that reads may do this."""
        self.hang_up()
        self._release()
        self.connection.close()


class Engine:
    """A connection to the Docker Engine. Safe to share between threads.

    Every method raises ``DockerError`` when the Engine is absent, too slow, or refuses.
    """

    def __init__(self, api: docker.APIClient) -> None:
        self.api = api
        _use_one_socket(api)
        self._images: dict[str, Mapping[str, Any]] = {}
        self._info: Mapping[str, Any] | None = None
        self._runtimes: RuntimeChooser | None = None
        self.findings: dict[str, object] = {}
        """What was found out about images, by their ids; kept for as long as this connection."""
        self.finding = threading.Lock()
        """Held by whoever is finding something out, so that several threads do not all do it."""
        self.shares_files = True
        """Whether the Engine sees the files of this machine, as far as is known."""

    @classmethod
    def connect(cls, *, deadline_s: int = CALL_DEADLINE_S) -> Self:
        """Connect as ``DOCKER_HOST`` and its companions say, by default to the local socket."""
        try:
            return cls(docker.APIClient(version="auto", timeout=deadline_s, **kwargs_from_env()))
        except (DockerException, requests.RequestException, ValueError) as error:
            where = os.environ.get("DOCKER_HOST") or "its usual socket"
            reason = _why_unreachable(error)
            raise DockerError(f"Docker cannot be reached at {where}: {reason}.", hint=_WAY_OUT) from error

    def close(self) -> None:
        """Close the connections."""
        self.api.close()

    def call(self, what: str, ask: Callable[..., _Answer], *arguments: Any, **options: Any) -> _Answer:
        """Make one call of the low-level API; ``what`` completes the sentence "Docker could not ...".

        Raises:
            DockerError: with Docker's reason; its ``__cause__`` is docker-py's error.
        """
        try:
            return ask(*arguments, **options)
        except requests.Timeout as error:
            raise DockerError(
                f"Docker could not {what}: no answer within its deadline.", hint=_WAY_OUT
            ) from error
        except (DockerException, requests.RequestException, OSError, LookupError, ValueError) as error:
            raise DockerError(f"Docker could not {what}: {_reason(error)}.", hint=_hint(error)) from error

    def find(self, what: str, ask: Callable[..., _Answer], *arguments: Any, **options: Any) -> _Answer | None:
        """Make one call whose subject may be gone: ``None`` if Docker says it does not exist."""
        try:
            return self.call(what, ask, *arguments, **options)
        except DockerError as error:
            if isinstance(error.__cause__, NotFound):
                return None
            raise

    def stream(
        self, what: str, deadline_s: float, ask: Callable[..., Iterator[Any]], *arguments: Any, **options: Any
    ) -> Iterator[Mapping[str, Any]]:
        """Make one call that answers with a stream of progress documents, for a bounded time."""
        end = time.monotonic() + deadline_s
        events = self.call(what, ask, *arguments, **options)
        while (event := self.call(what, next, events, None)) is not None:
            yield event
            if time.monotonic() > end:
                raise DockerError(f"Docker could not {what} within {deadline_s:.0f} s.", hint=_WAY_OUT)

    def version(self) -> Mapping[str, Any]:
        """The Engine's version document."""
        return self.call("tell its version", self.api.version)

    def info(self) -> Mapping[str, Any]:
        """The Engine's facts (runtimes, cgroup version, security options), asked for once."""
        if self._info is None:
            self._info = self.call("describe itself", self.api.info)
        return self._info

    def machine(self) -> Machine:
        """What the Engine's machine has."""
        info = self.info()
        return machine_of(info, core_pattern=self._core_pattern(info))

    def _core_pattern(self, info: Mapping[str, Any]) -> str | None:
        """Where crashes go on the Engine's machine, or ``None`` unless it is plainly this one."""
        here, told = os.uname(), (info.get("Name"), info.get("KernelVersion"))
        if (here.nodename, here.release) != told:
            return None
        if not isinstance(self.api.get_adapter(self.api.base_url), UnixHTTPAdapter):
            return None
        try:
            with _CORE_PATTERN.open(errors="replace") as file:
                return file.read(256)  # the kernel keeps 128 bytes
        except OSError:
            return None

    def daemon_capabilities(self) -> int | None:
        """The capabilities of the daemon as a mask, ``None`` where it is not a process of this machine."""
        adapter = self.api.get_adapter(self.api.base_url)
        if not isinstance(adapter, UnixHTTPAdapter):
            return None
        try:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(self.api.timeout)
                probe.connect(adapter.socket_path)
                peer = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            process = Path("/proc", str(struct.unpack("3i", peer)[0]))
            if process.joinpath("comm").read_text().strip() != "dockerd":
                return None  # what opened the socket for it, or a relay
            with process.joinpath("status").open() as file:
                found = re.search(r"^CapEff:\s*([0-9a-f]+)$", file.read(1 << 16), re.MULTILINE)
        except OSError:
            return None
        return int(found[1], 16) if found else None

    def runtimes(self) -> RuntimeChooser:
        """What chooses among this Engine's runtimes, and remembers."""
        if self._runtimes is None:
            self._runtimes = RuntimeChooser(self.info())
        return self._runtimes

    def image(self, name: str, *, remembered: bool = False) -> Mapping[str, Any] | None:
        """An image's inspect document, or ``None``; with ``remembered`` as it was when last asked for."""
        found = self._images.get(name) if remembered else None
        if found is None:
            found = self.find(f"inspect image {name}", self.api.inspect_image, name)
            if found is not None:
                self._images[name] = found
        return found

    def container(self, container: str) -> Mapping[str, Any] | None:
        """A container's inspect document, or ``None`` once it is removed."""
        return self.find(f"inspect container {container[:12]}", self.api.inspect_container, container)

    def path_facts(self, container: str, path: str) -> PathFacts | None:
        """What stands at an absolute path in a container, running or not; ``None`` where nothing does."""
        # docker-py has no call for this alone.
        url = f"{self.api.base_url}/v{self.api.api_version}/containers/{container}/archive"
        what = f"look at {path!r} in a container"
        answer = self.call(what, self.api.head, url, params={"path": path}, timeout=self.api.timeout)
        if answer.status_code == requests.codes.not_found:
            return None
        try:
            answer.raise_for_status()
            told = json.loads(base64.b64decode(answer.headers[_PATH_FACTS], validate=True))
            mode, link = int(told["mode"]), str(told["linkTarget"])
        except (requests.HTTPError, LookupError, ValueError, TypeError) as error:
            raise DockerError(f"Docker could not {what}: {_reason(error)}.") from error
        is_link = bool(mode & _LINK)
        if is_link and not link.startswith("/"):
            raise DockerError(f"Docker could not {what}: it does not say where the link leads.")
        return PathFacts(bool(mode & _DIRECTORY), not mode & _NO_FILE, link if is_link else "")

    def read_file(self, container: str, path: str, limit: int) -> bytes | None:
        """A regular file in a container, running or not; ``None`` where it is none of up to ``limit`` bytes.

        Where nothing stands at the path, Docker refuses.
        """
        what = f"read {path!r} in a container"
        pieces, _facts = self.call(what, self.api.get_archive, container, path)
        archive, room = bytearray(), limit + _TAR_BYTES
        while (piece := self.call(what, next, pieces, None)) is not None and len(archive) <= room:
            archive += piece
        try:
            with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
                entry = tar.next()
                file = None if entry is None or entry.size > limit else tar.extractfile(entry)
                return None if file is None or not entry or not entry.isreg() else file.read(limit)
        except (tarfile.TarError, ValueError, EOFError) as error:
            raise DockerError(f"Docker could not {what}: its answer is no archive.") from error

    def volume(self, name: str) -> Mapping[str, Any] | None:
        """A volume's inspect document, or ``None`` once it is removed."""
        return self.find(f"inspect volume {name[:12]}", self.api.inspect_volume, name)

    def attach(self, container: str) -> Attachment:
        """Open a container's stdin, stdout and stderr; do it before the start so that nothing is lost."""
        streams = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
        raw = self.call("attach to a container", self.api.attach_socket, container, params=streams)
        connection = raw if isinstance(raw, socket.socket) else getattr(raw, "_sock", None)
        response = getattr(raw, "_response", None)  # the socket is only lent by it

        def release() -> None:
            if response is not None:
                response.close()
            raw.close()

        if not isinstance(connection, socket.socket) or isinstance(connection, ssl.SSLSocket):
            release()
            raise DockerError(
                "Docker was reached in a way that has no plain socket for a container's stream.",
                hint="use the Engine's Unix socket, or an SSH tunnel to it, as DOCKER_HOST",
            )
        return Attachment(connection, release)

    def history(self, container: str, *, since: float) -> tuple[Mapping[str, Any], ...]:
        """What the Engine remembers about one container since a Unix time in seconds, oldest first.

        It outlives the container, so it tells how one ended that removed itself.
        """
        # docker-py's own call for this knows no deadline, hence the plain request on its session.
        url = f"{self.api.base_url}/v{self.api.api_version}/events"
        parameters = {
            "since": f"{since:.6f}",
            "until": f"{time.time():.6f}",
            "filters": json.dumps({"container": [container], "type": ["container"]}),
        }
        answer = self.call("recall events", self.api.get, url, params=parameters, timeout=self.api.timeout)
        try:
            return tuple(json.loads(line) for line in answer.text.splitlines() if line.strip())
        except ValueError as error:
            raise DockerError("Docker could not recall events: its answer is no JSON.") from error


class _OneSocketAdapter(UnixHTTPAdapter):
    """One pool of connections: docker-py's own has one for each URL, and every container has new ones."""

    def get_connection(self, url: str | bytes, proxies: Any = None) -> Any:  # noqa: ARG002 - that is it
        return super().get_connection(self.socket_path, proxies)


def _use_one_socket(api: docker.APIClient) -> None:
    """Let all calls to a Unix socket share its connections; no proxy leads there, so none is looked for."""
    adapter = api.get_adapter(api.base_url)
    if isinstance(adapter, UnixHTTPAdapter):
        shared = _OneSocketAdapter(
            f"http+unix://{adapter.socket_path}", adapter.timeout, max_pool_size=_CONNECTIONS
        )
        api.mount("http+docker://", shared)
        adapter.close()
        api.trust_env = False


def _reason(error: Exception) -> str:
    """Docker's own words, on one line."""
    text = str(error.explanation) if isinstance(error, APIError) and error.explanation else str(error)
    return re.sub(r"\s+", " ", text).strip().rstrip(".")[:600] or type(error).__name__


def _why_unreachable(error: Exception) -> str:
    """The system's own words where a connection failed: around them stand three libraries' exceptions."""
    at: BaseException | None = error
    while at is not None:
        if isinstance(at, OSError) and at.strerror:
            return at.strerror
        at = at.__cause__ or at.__context__
    return _reason(error)


def _hint(error: Exception) -> str | None:
    return None if isinstance(error, APIError) else _WAY_OUT
