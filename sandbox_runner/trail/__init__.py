"""The bytecode: one table of operations, two versions of bytes, and everything derived from them."""

from sandbox_runner.trail.chain import ChainLink, verify_chain
from sandbox_runner.trail.codec import TrailDecoder, TrailEncoder
from sandbox_runner.trail.compiler import TrailCompiler, compile_file, compile_worklog
from sandbox_runner.trail.concatenation import concatenate
from sandbox_runner.trail.conversion import Format, convert
from sandbox_runner.trail.findings import Finding, Severity
from sandbox_runner.trail.hashes import file_digest, str_hash_to_u16_pair, str_to_hash, u16_pair_to_hex
from sandbox_runner.trail.limits import DEFAULT_LIMITS, TrailLimits
from sandbox_runner.trail.notes import StepNotes, read_notes, write_notes
from sandbox_runner.trail.operands import (
    OPCODE_ARG_TYPES,
    OPCODE_OPERAND_COUNT,
    operand_names,
    resolve_operands,
)
from sandbox_runner.trail.operations import METHODS, OPERATIONS, TrailOpcodes
from sandbox_runner.trail.printer import TrailPrinter, hex_dump
from sandbox_runner.trail.program import TrailProgram
from sandbox_runner.trail.resolved import ResolvedStep, step_number
from sandbox_runner.trail.step import TrailStep
from sandbox_runner.trail.trail import Trail, examine, load, naming
from sandbox_runner.trail.verifier import TrailVerifier
from sandbox_runner.trail.worklog import is_worklog, iter_worklog, read_worklog

__all__ = [
    "DEFAULT_LIMITS",
    "METHODS",
    "OPCODE_ARG_TYPES",
    "OPCODE_OPERAND_COUNT",
    "OPERATIONS",
    "ChainLink",
    "Finding",
    "Format",
    "ResolvedStep",
    "Severity",
    "StepNotes",
    "Trail",
    "TrailCompiler",
    "TrailDecoder",
    "TrailEncoder",
    "TrailLimits",
    "TrailOpcodes",
    "TrailPrinter",
    "TrailProgram",
    "TrailStep",
    "TrailVerifier",
    "compile_file",
    "compile_worklog",
    "concatenate",
    "convert",
    "examine",
    "file_digest",
    "hex_dump",
    "is_worklog",
    "iter_worklog",
    "load",
    "naming",
    "operand_names",
    "read_notes",
    "read_worklog",
    "resolve_operands",
    "step_number",
    "str_hash_to_u16_pair",
    "str_to_hash",
    "u16_pair_to_hex",
    "verify_chain",
    "write_notes",
]
