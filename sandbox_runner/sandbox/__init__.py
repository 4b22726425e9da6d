"""Everything that talks to Docker: images, containers, the channel to the guest, and the world behind it.

Theory of operation. The runner (trusted, on the host) asks the Engine for one container per sandbox and holds
the only connection to its stdin and stdout. Process 1 in the container is the guest (trusted code in an
untrusted place): the host checks everything it says. What a trail starts runs as a uid of its own, without
capabilities, network or a way to the guest. When the runner ends, however it ends, its connection closes, the
guest leaves, and Docker removes container and volume; what a crash of Docker itself leaves is found by its
labels and removed later.
"""

from sandbox_runner.sandbox.confinement import seccomp_sha256
from sandbox_runner.sandbox.doctor import Check, Health, probe
from sandbox_runner.sandbox.engine import Engine
from sandbox_runner.sandbox.environments import add_environment, ensure_environment
from sandbox_runner.sandbox.images import Image, build_image, default_tag, ensure_image, list_images
from sandbox_runner.sandbox.isolation import Isolation, look_inside
from sandbox_runner.sandbox.janitor import Leftover, clean, find_leftovers
from sandbox_runner.sandbox.pool import SandboxPool
from sandbox_runner.sandbox.receipt import CleanupReceipt
from sandbox_runner.sandbox.requirements import Demands, read_demands
from sandbox_runner.sandbox.runtimes import RuntimeChoice
from sandbox_runner.sandbox.sandbox import Sandbox
from sandbox_runner.sandbox.spec import Deadlines, SandboxSpec, new_run_id
from sandbox_runner.sandbox.world import ContainerWorld

__all__ = [
    "Check",
    "CleanupReceipt",
    "ContainerWorld",
    "Deadlines",
    "Demands",
    "Engine",
    "Health",
    "Image",
    "Isolation",
    "Leftover",
    "RuntimeChoice",
    "Sandbox",
    "SandboxPool",
    "SandboxSpec",
    "add_environment",
    "build_image",
    "clean",
    "default_tag",
    "ensure_environment",
    "ensure_image",
    "find_leftovers",
    "list_images",
    "look_inside",
    "new_run_id",
    "probe",
    "read_demands",
    "seccomp_sha256",
]
