"""The door to several processes: `bayesglm.distributed` brings them together."""

from __future__ import annotations

import atexit
import os
import sys
from dataclasses import dataclass
from typing import Any

import jax

from bayesglm.errors import InferenceError, SpecificationError, explain

__all__ = ["Process", "distributed"]

ENVIRONMENT = {
    "coordinator_address": "JAX_COORDINATOR_ADDRESS",
    "num_processes": "JAX_NUM_PROCESSES",
    "process_id": "JAX_PROCESS_ID",
}
SETTINGS = {"jax_cpu_collectives_implementation": "gloo", "jax_cpu_enable_async_dispatch": False}


@dataclass(frozen=True)
class Process:
    """Which process this is, and of how many."""

    index: int
    count: int


def distributed(
    coordinator_address: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    *,
    timeout: int = 60,
    wait: int = 300,
) -> Process:
    """Bring several processes together, each of which holds rows of its own.

    Called first of all in each of them, before anything is computed. Then each makes a model of its
    own rows, and ``model.fit(method, mesh="auto")`` is a meeting of all: it gives every one of them
    the fit to all the rows.

    Parameters
    ----------
    coordinator_address : str, optional
        ``"host:port"`` of process 0, with a free port that the others can reach; from
        ``JAX_COORDINATOR_ADDRESS`` if absent.
    num_processes, process_id : int, optional
        How many there are, and which this is, from 0 on; from ``JAX_NUM_PROCESSES`` and
        ``JAX_PROCESS_ID`` if absent. Under Slurm and Open MPI all three are found by themselves.
    timeout : int
        Seconds after which a process that gives no sign of life counts as dead; the others then
        end, with a message. Where its connections break, as when it is killed, they end at once.
    wait : int
        Seconds to wait for the others to come.

    Returns
    -------
    Process
        ``index`` and ``count``.

    Raises
    ------
    SpecificationError
        For a word that makes no sense, or where something was computed before.
    InferenceError
        If the others do not come.

    Examples
    --------
    >>> bg.distributed("localhost:12345", num_processes=2, process_id=0)  # doctest: +SKIP
    Process(index=0, count=2)
    """
    number = _whole("num_processes", num_processes, least=1)
    own = _whole("process_id", process_id, least=0)
    address = coordinator_address or os.environ.get(ENVIRONMENT["coordinator_address"])
    if number is not None and own is not None and own >= number:
        raise SpecificationError(
            explain("processes are counted from 0", process_id=own, num_processes=number)
        )
    if address is not None and not address.rpartition(":")[2].isdigit():
        raise SpecificationError(
            explain('coordinator_address must be "host:port"', coordinator_address=address)
        )
    for name, seconds in (("timeout", timeout), ("wait", wait)):
        if not isinstance(seconds, int) or seconds < 1:
            got: dict[str, Any] = {name: seconds}
            raise SpecificationError(explain(f"{name} must be whole seconds", **got))
    if jax.distributed.is_initialized():
        raise SpecificationError(explain("the processes have been brought together already"))
    # On CPUs sums over processes go through gloo, one after the other: two programs under way at
    # once would mix up their sums. Neither has an effect elsewhere.
    for setting, choice in SETTINGS.items():
        jax.config.update(setting, choice)  # type: ignore[no-untyped-call]
    try:
        jax.distributed.initialize(
            address,
            number,
            own,
            initialization_timeout=wait,
            heartbeat_timeout_seconds=timeout,
        )
    except ValueError as error:
        raise SpecificationError(
            explain(
                f"which process this is must be said: {error}",
                coordinator_address=address,
                num_processes=number,
                process_id=own,
                advice="give them, or set " + ", ".join(ENVIRONMENT.values()),
            )
        ) from error
    except RuntimeError as error:
        told = str(error).splitlines()[0]
        if "must be called before" in told:
            raise SpecificationError(
                explain(
                    "JAX has computed something already",
                    advice="call bayesglm.distributed() first of all",
                )
            ) from error
        raise InferenceError(
            explain(
                f"the processes did not come together: {told}",
                coordinator_address=address,
                num_processes=number,
                process_id=own,
                advice=f"start all of them within {wait} seconds, with the same address, which must "
                "be free and within reach",
            )
        ) from error
    atexit.register(_leave)
    return Process(jax.process_index(), jax.process_count())


def _leave() -> None:
    """End at once after an error that nobody caught; JAX would first wait for all the others.

    They wait for this process in turn, and learn that it is gone when its connections break.
    """
    if getattr(sys, "last_exc", None) is not None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)


def _whole(name: str, value: int | None, *, least: int) -> int | None:
    """Return a whole number, from the environment if absent."""
    given: Any = value if value is not None else os.environ.get(ENVIRONMENT[name])
    if given is None:
        return None
    try:
        found = int(str(given))
    except ValueError:
        found = -1
    if found < least:
        got = {name: given}
        raise SpecificationError(explain(f"{name} must be a whole number, {least} or more", **got))
    return found
