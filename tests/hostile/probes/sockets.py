"""Attempts to speak: which sockets can be made at all, and what can be reached with them."""

import os
import socket

from trying import answer, listing, reading


def made(family, kind, protocol):
    return answer(socket.socket, family, kind, protocol)


def machine_sockets(_bait):
    """Sockets that lead out of a virtual machine, into the kernel's tables or onto the wire."""
    for name, family, kind, protocol in (
        ("vsock stream", 40, 1, 0), ("vsock datagram", 40, 2, 0), ("netlink route", 16, 3, 0),
        ("netlink audit", 16, 3, 9), ("netlink uevent", 16, 2, 15), ("netlink netfilter", 16, 3, 12),
        ("packet", 17, 3, 0x300), ("packet cooked", 17, 2, 0x300), ("packet by INET", 2, 10, 0x300),
        ("raw ICMP", 2, 3, 1), ("raw IP", 2, 3, 255), ("ping", 2, 2, 1), ("kernel crypto", 38, 5, 0),
        ("Bluetooth", 31, 3, 1), ("XDP", 44, 3, 0), ("AppleTalk", 5, 2, 0), ("SCTP", 2, 1, 132),
        ("DCCP", 2, 6, 33), ("MPTCP", 2, 1, 262), ("UDP-Lite", 2, 2, 136), ("L2TP", 2, 2, 115),
        ("SMC", 43, 1, 0), ("SMC by INET", 2, 1, 256), ("TIPC", 30, 5, 0), ("RDS", 21, 5, 0),
        ("CAN", 29, 3, 1), ("KCM", 41, 5, 0), ("QIPCRTR", 42, 2, 0), ("NFC", 39, 5, 0),
        ("phonet", 35, 2, 0),
    ):  # fmt: skip
        yield name, made(family, kind, protocol)


def unix_sockets(bait):
    """Sockets of the host: an abstract one that listens there now, and files where the Engine's would be."""
    yield "an abstract socket of the host", _connect("\0" + bait["abstract"])
    for name in (
        "/run/docker.sock", "/var/run/docker.sock", "/run/containerd/containerd.sock",
        "/run/podman/podman.sock", "/run/crio/crio.sock", "/run/dbus/system_bus_socket",
        "/run/systemd/private", bait["socket"],
    ):  # fmt: skip
        yield name if name != bait["socket"] else "a socket of the host's disk", _connect(name)
    try:
        with open("/proc/net/unix") as file:
            names = [line.split()[7] for line in file if len(line.split()) > 7]
    except OSError:
        names = []
    yield "abstract sockets in sight", ", ".join(name for name in names if name.startswith("@")) or "none"


def _connect(place):
    ours = socket.socket(socket.AF_UNIX)
    ours.settimeout(2)
    with ours:
        return answer(ours.connect, place)


def network(bait):
    """Everything beyond its own loopback. The host counts what arrives."""
    for address in bait["addresses"]:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        for name, kind in (("TCP", socket.SOCK_STREAM), ("UDP", socket.SOCK_DGRAM)):
            yield "%s to %s" % (name, address), _talk(family, kind, address, bait["port"])
    for name in ("example.org", "metadata.google.internal", "kubernetes.default.svc"):
        yield "the name " + name, _resolve(name)
    with open("/proc/net/dev") as file:
        names = sorted(line.split(":")[0].strip() for line in file.readlines()[2:])
    yield "interfaces", ", ".join(names)
    yield "service tokens", listing("/var/run/secrets/kubernetes.io")
    yield "routes", reading("/proc/net/fib_trie") if os.path.exists("/proc/net/fib_trie") else "ENOENT"


def _talk(family, kind, address, port):
    probe = socket.socket(family, kind)
    probe.settimeout(1)
    with probe:
        try:
            probe.connect((address, port))
            if kind == socket.SOCK_STREAM:
                return "connected"
            probe.send(b"x")
            probe.recv(1)
        except socket.timeout:
            return "no answer"
        except OSError as error:
            return answer(_raise, error)
    return "answered"


def _raise(error):
    raise error


def _resolve(name):
    try:
        socket.getaddrinfo(name, 80)
    except socket.gaierror:
        return "unknown"
    return "resolved"
