"""The bytecode: one table of operations, two versions of bytes, and everything derived from them."""

from sandbox_runner.trail.codec import TrailDecoder, TrailEncoder
from sandbox_runner.trail.compiler import TrailCompiler, compile_worklog
from sandbox_runner.trail.conversion import convert
from sandbox_runner.trail.findings import Finding, Severity
from sandbox_runner.trail.hashes import file_digest, str_hash_to_u16_pair, str_to_hash, u16_pair_to_hex
from sandbox_runner.trail.limits import DEFAULT_LIMITS, TrailLimits
from sandbox_runner.trail.operations import METHODS, OPERATIONS, TrailOpcodes
from sandbox_runner.trail.program import TrailProgram
from sandbox_runner.trail.resolved import ResolvedStep
from sandbox_runner.trail.step import TrailStep
from sandbox_runner.trail.trail import Trail, load
from sandbox_runner.trail.worklog import iter_worklog, read_worklog

__all__ = [
    "DEFAULT_LIMITS",
    "Finding",
    "METHODS",
    "OPERATIONS",
    "ResolvedStep",
    "Severity",
    "Trail",
    "TrailCompiler",
    "TrailDecoder",
    "TrailEncoder",
    "TrailLimits",
    "TrailOpcodes",
    "TrailProgram",
    "TrailStep",
    "compile_worklog",
    "convert",
    "file_digest",
    "iter_worklog",
    "load",
    "read_worklog",
    "str_hash_to_u16_pair",
    "str_to_hash",
    "u16_pair_to_hex",
]
