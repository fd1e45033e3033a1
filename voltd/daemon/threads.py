"""Threads that hold up nobody: whatever one of them waits for, neither other work nor the end of the process waits too.

``concurrent.futures.ThreadPoolExecutor`` joins its threads when the process ends, also one that waits for a silent
server. Used by ``scheduler`` for the jobs, and by ``app`` for its question to the database.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent import futures
from typing import ParamSpec, TypeVar

_ParametersP = ParamSpec("_ParametersP")
_ResultT = TypeVar("_ResultT")


class DaemonThreads(futures.Executor):
    """An executor that starts a daemon thread for each call.

    Args:
        name: of the threads.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def submit(
        self, call: Callable[_ParametersP, _ResultT], /, *args: _ParametersP.args, **kwargs: _ParametersP.kwargs
    ) -> futures.Future[_ResultT]:
        """Runs the call in a thread of its own; does not block. The future has its result, or what it raised."""
        future: futures.Future[_ResultT] = futures.Future()

        def run() -> None:
            try:
                result = call(*args, **kwargs)
            except BaseException as error:  # noqa: BLE001 the future hands it on
                future.set_exception(error)
            else:
                future.set_result(result)

        threading.Thread(target=run, name=self._name, daemon=True).start()
        return future
