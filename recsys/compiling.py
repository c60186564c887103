"""How inner loops become machine code: by numba, on first use, kept in a cache beside the source."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit
from numba.core import cgutils, types
from numba.extending import intrinsic
from numpy.typing import NDArray

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


def fixed(array: NDArray[Any]) -> NDArray[Any]:
    """Read-only, whether it lies in memory or in a file: to the compiler that is one kind of array."""
    view = np.ascontiguousarray(array).view()
    view.setflags(write=False)
    return view


LINE = 64
"""Bytes that the processor fetches at once."""


def _prefetch(_: Any, array: types.Array, row: types.Integer, line: types.Integer) -> Any:  # noqa: ANN401
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ANN401
        found = context.make_array(signature.args[0])(context, builder, args[0])
        word = context.get_value_type(types.intp)
        number = [
            context.cast(builder, value, kind, types.intp)
            for value, kind in zip(args[1:], signature.args[1:], strict=True)
        ]
        rows = builder.mul(number[0], builder.extract_value(found.strides, 0))
        lines = builder.mul(number[1], ir.Constant(word, LINE))
        start = builder.ptrtoint(found.data, word)
        address = builder.add(start, builder.add(rows, lines))
        pointer = builder.inttoptr(address, cgutils.voidptr_t)
        told = builder.module.declare_intrinsic(
            "llvm.prefetch",
            [cgutils.voidptr_t],
            ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, *[ir.IntType(32)] * 3]),
        )
        read, keep, data = (ir.Constant(ir.IntType(32), value) for value in (0, 2, 1))
        builder.call(told, [pointer, read, keep, data])
        return context.get_dummy_value()

    return types.void(array, row, line), generate


prefetch = cast(Callable[[Any, int, int], None], intrinsic(_prefetch))
"""prefetch(array, row, line): fetch a line of a row while something else is done. For kernels to call.

Rows that are read here and there wait for memory, one after another; asked for ahead, they come all at once.
"""
