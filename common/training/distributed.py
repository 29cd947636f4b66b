"""One run over several processes: ``torchrun --standalone --nproc-per-node=2 papers/…/train.py``.

``train.batch_size`` is the global batch size: every process takes its share of each batch, and
DistributedDataParallel averages the gradients (gloo on CPUs, nccl on graphics cards). The process
of rank 0 evaluates, logs, writes checkpoints and the result; all processes resume from its
checkpoint.
Batch-norm statistics are those of each process's own share, not of the whole batch, as was usual in
training on two graphics cards.
"""

from __future__ import annotations

import contextlib
import functools
import os
import socket
from collections.abc import Iterator, Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from common.config import one_line
from common.errors import UserError, cut, shorten
from common.typed import whole


def of_torchrun(name: str, alone: int) -> int:
    """A whole number from an environment variable that torchrun sets.

    Args:
        name: the variable.
        alone: the value if the variable is not set.

    Raises:
        UserError: the variable is not a whole number below a million.
    """
    text = os.environ.get(name, "").strip()
    found = whole(text) if text else alone
    if found is None or found >= 1_000_000:
        raise UserError(f"{name}={shorten(text)!r} in the environment: expected a whole number "
                        "below a million, as torchrun sets it")
    return found


@functools.cache
def rank() -> int:
    """The rank of this process; 0 without torchrun.

    Raises:
        UserError: it is not below the number of processes, or see :func:`processes`.
    """
    n = processes()
    found = of_torchrun("RANK", 0) if n > 1 else 0
    if found >= n:
        raise UserError(f"RANK={found} in the environment: expected less than WORLD_SIZE={n}")
    return found


@functools.cache
def processes() -> int:
    """How many processes train together; 1 without torchrun.

    Raises:
        UserError: some of torchrun's environment variables are set and others are not.
    """
    found = of_torchrun("WORLD_SIZE", 1)
    if found > 1 and (lacking := [n for n in TORCHRUN if not os.environ.get(n)]):
        raise UserError(f"WORLD_SIZE={found} in the environment and not {', '.join(lacking)}: "
                        "expected processes that torchrun started, or no WORLD_SIZE")
    return max(found, 1)


TORCHRUN = ("RANK", "MASTER_ADDR", "MASTER_PORT")
"""The environment variables that torchrun sets besides the number of processes."""


def local_device(device: torch.device) -> torch.device:
    """The device of this process: its own graphics card if several processes train."""
    if device.type == "cpu" or processes() == 1 or device.index is not None:
        return device
    return torch.device(device.type, of_torchrun("LOCAL_RANK", 0))


def check_meeting_place() -> None:
    """Make sure that there is a machine of the name where processes meet; torch asks for ever.

    Raises:
        OSError, ValueError: there is none, or the port is no number from 1 to 65535.
    """
    port = whole(os.environ["MASTER_PORT"].strip())
    if port is None or not 1 <= port < 2**16:
        raise ValueError("expected a port from 1 to 65535")
    socket.getaddrinfo(os.environ["MASTER_ADDR"], port)


@contextlib.contextmanager
def process_group() -> Iterator[None]:
    """Join the other processes' group, if torchrun started any, and leave it at the end.

    Raises:
        UserError: the environment is not as torchrun sets it, or the group cannot be joined.
    """
    if processes() == 1:
        yield
        return
    rank()
    of_torchrun("LOCAL_RANK", 0)
    try:
        check_meeting_place()
        dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    except (RuntimeError, ValueError, OverflowError, OSError) as e:
        address, port = (os.environ[name] for name in ("MASTER_ADDR", "MASTER_PORT"))
        raise UserError(f"MASTER_ADDR={address}, MASTER_PORT={port} in the environment: no place "
                        f"where {processes()} processes meet ({cut(one_line(e), 160)}); expected "
                        "torchrun's own") from e
    try:
        yield
        dist.barrier()
    finally:
        dist.destroy_process_group()


def wrap(network: nn.Module, device: torch.device) -> nn.Module:
    """Wrap the network for training, so that gradients are averaged over processes."""
    if processes() == 1:
        return network
    return DistributedDataParallel(network, None if device.type == "cpu" else [device])


def share(batch: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """This process's part of the global batch.

    Raises:
        UserError: the batch cannot be divided equally among the processes.
    """
    n = processes()
    if n == 1:
        return batch
    if len(batch[0]) % n:
        raise UserError(f"train.batch_size={len(batch[0])}: expected a multiple of the {n} "
                        "processes")
    return tuple(part.chunk(n)[rank()] for part in batch)


def mean(loss: Tensor) -> Tensor:
    """The mean of the loss over all processes."""
    if processes() > 1:
        dist.all_reduce(loss)
        loss = loss / processes()
    return loss


def anywhere(here: bool) -> bool:
    """Whether a condition is true in any of the processes.

    Args:
        here: whether it is true in this one.
    """
    if processes() == 1:
        return here
    found = torch.tensor(int(here))
    dist.all_reduce(found, dist.ReduceOp.MAX)
    return bool(found)


def check_agreement(networks: Sequence[nn.Module]) -> None:
    """Make sure that all processes hold the same weights.

    Raises:
        UserError: they do not, because the paper's update bypasses the wrapped network, which
            averages gradients.
    """
    if processes() == 1:
        return
    mine = torch.stack([p.detach().double().sum() for n in networks for p in n.parameters()])
    theirs = [torch.empty_like(mine) for _ in range(processes())]
    dist.all_gather(theirs, mine)
    if any(not torch.equal(t, mine) for t in theirs):
        raise UserError("the processes' weights differ: this paper's update does not go through "
                        "the shared network (Supervised.net); train it in one process")
