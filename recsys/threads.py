"""The one place where thread counts are set.

BLAS (numpy, scipy), FAISS, torch and implicit each bring their own thread pool. Left alone, each takes
every core and they trample on one another; so one number rules them all. `limit_threads` sets the
environment for libraries not yet loaded and reaches into those that already are.
"""

import os
import sys

import threadpoolctl

_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def available_cores() -> int:
    """Cores this process may run on (respects taskset and cgroup cpusets)."""
    return len(os.sched_getaffinity(0))


def limit_threads(count: int) -> int:
    """Let every numeric library use `count` threads (0: every core this process may run on).

    Returns the count in force. implicit reads OMP's count when it is told `num_threads=0`.
    """
    count = count or available_cores()
    for variable in _VARIABLES:
        os.environ[variable] = str(count)
    os.environ["TOKENIZERS_PARALLELISM"] = "true" if count > 1 else "false"
    threadpoolctl.threadpool_limits(limits=count)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(count)
    if faiss := sys.modules.get("faiss"):
        faiss.omp_set_num_threads(count)
    return count


def thread_count() -> int:
    """Threads that a library may use: what `limit_threads` last set, else every core."""
    return int(os.environ.get(_VARIABLES[0]) or available_cores())


def one_blas_thread() -> threadpoolctl.threadpool_limits:
    """A context in which BLAS keeps to one thread, for libraries that call it from threads of their own."""
    return threadpoolctl.threadpool_limits(limits=1, user_api="blas")
