"""How inner loops become machine code: by numba, on first use, kept in a cache beside the source."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}


def compiled(kernel: Kernel) -> Kernel:
    """Compile a function of arrays and numbers. It runs without the interpreter's lock."""
    return cast(Kernel, njit(**OPTIONS)(kernel))


def compiled_sum(kernel: Kernel) -> Kernel:
    """The same for a sum that may be added up in any order, so that it uses the whole width of the processor.

    Keep tests for NaN out of it.
    """
    return cast(Kernel, njit(**OPTIONS, fastmath={"reassoc", "contract", "nsz"})(kernel))


def inlined(kernel: Kernel) -> Kernel:
    """The same for what is done in the innermost loop of other kernels: a call would cost more than the work."""
    return cast(Kernel, njit(**OPTIONS, inline="always")(kernel))
