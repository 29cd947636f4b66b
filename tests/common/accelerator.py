"""A stand-in for an accelerator: a device on the CPU that notices what a real one would mind.

    def test_something(accelerator):
        model.to(accelerator.device)
        with accelerator.watch() as log:
            step()
        assert not log.reads and not log.uploads

Its tensors hold real numbers, in a CPU tensor each, and compute what the CPU computes, bit for bit.
Every transfer between it and the host is logged, and an operation between its tensors and the
CPU's raises RuntimeError, as on a real device; so does drawing on it with the CPU's generator.
Like Apple's device it can refuse float64, by TypeError.

It needs no registration, which in torch could not be undone: a tensor subclass claims a device
type that torch knows and nobody has, and a mode that is on only while the fixture is makes such
tensors where ``device=`` asks for them. What it cannot imitate:

- There is no generator in C++ for it. While it is on, ``torch.Generator`` is a subclass that holds
  a CPU generator and says that it is of this device; without a generator the default one of the
  CPU draws, so that numbers are those of a run on the CPU.
- There are no streams, graphs, pinned memory, autocast or asynchronous copies, and compiled code
  does not know it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from common.files import ROOT

DEVICE = torch.device("lazy:0")
"""A type torch reserves and whose backend is not loaded; autograd runs it in the calling thread."""

aten = torch.ops.aten

WAITING = {aten._local_scalar_dense, aten.equal, aten.nonzero, aten.masked_select, aten.bincount,
           aten._unique, aten._unique2, aten.unique_dim, aten.unique_consecutive, aten.histc,
           aten.multinomial}
"""Operations whose result, or its size, the host has to wait for."""

INDEXING = {aten.index, aten._unsafe_index, aten.index_put, aten.index_put_,
            aten._index_put_impl_, aten._unsafe_index_put}

UPLOADING_A_VALUE = {aten.fill, aten.fill_} | INDEXING
"""Those that take a 0-dimensional CPU tensor as their value and copy it to the device."""


@dataclass
class Log:
    """What crossed between the device and the host, each as "operation at file:line".

    Attributes:
        reads: waits of the host for the device: values read, copies to the CPU, results whose size
            depends on values.
        uploads: copies from the CPU to the device.
        mixed: operations refused because their tensors are of both.
        scalars: operations that took a 0-dimensional CPU tensor. A real device takes it too, but a
            recorded graph of the step keeps the value it had then.
    """

    reads: list[str] = field(default_factory=list)
    uploads: list[str] = field(default_factory=list)
    mixed: list[str] = field(default_factory=list)
    scalars: list[str] = field(default_factory=list)


class StandInTensor(Tensor):
    """A tensor of the stand-in; ``held`` is the CPU tensor with its numbers."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> StandInTensor:
        made = Tensor._make_wrapper_subclass(
            cls, held.shape, strides=held.stride(), storage_offset=held.storage_offset(),
            dtype=held.dtype, layout=held.layout, device=DEVICE)
        made.held = held
        return made

    def __repr__(self) -> str:  # printing is no read
        return f"StandInTensor({self.held})"

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def numpy(self, *, force: bool = False) -> Any:
        if not force:
            raise TypeError(f"can't convert {DEVICE} device type tensor to numpy")
        return self.detach().cpu().numpy()

    def __format__(self, spec: str) -> str:
        return self.item().__format__(spec) if self.dim() == 0 else super().__format__(spec)

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Saved as the CPU tensor that ``map_location="cpu"`` makes of a real device's."""
        return self.detach().cpu().requires_grad_(self.requires_grad).__reduce_ex__(protocol)

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: tuple = (),
                           kwargs: dict | None = None) -> Any:
        return _on[-1].call(func, args, kwargs or {})


class StandInGenerator(torch.Generator):
    """Takes the place of ``torch.Generator`` while the stand-in is on."""

    ours: ClassVar[dict[int, bool]] = {}
    """By address of the C++ object, for torch makes new Python objects of it: whether of here."""

    def __new__(cls, device: Any = "cpu") -> StandInGenerator:
        made = super().__new__(cls, "cpu" if _ours(device) else device)
        cls.ours[made._cdata] = _ours(device)
        return made

    @property
    def device(self) -> torch.device:
        return DEVICE if self.ours[self._cdata] else super().device


class Accelerator(TorchDispatchMode):
    """The device itself; :func:`stand_in` turns it on.

    Args:
        float64: whether it has that type.

    Attributes:
        device: for ``torch.empty(…, device=…)`` and ``.to(…)``; its string for configurations.
    """

    device = DEVICE

    def __init__(self, float64: bool = True):
        super().__init__()
        self.float64 = float64
        self.logs: list[Log] = []

    @contextmanager
    def watch(self) -> Iterator[Log]:
        """Log what crosses between the device and the host."""
        log = Log()
        self.logs.append(log)
        try:
            yield log
        finally:
            self.logs.remove(log)

    def note(self, kind: str, func: Any) -> None:
        """Write an operation into one list of every open log."""
        for log in self.logs:
            getattr(log, kind).append(f"{func._schema.name.removeprefix('aten::')} at {_caller()}")

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (),
                           kwargs: dict | None = None) -> Any:
        return self.call(func, args, kwargs or {})

    def call(self, func: Any, args: tuple, kwargs: dict) -> Any:
        """Carry out an operation that may concern the device."""
        tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        here = [t for t in tensors if isinstance(t, StandInTensor)]
        asked = kwargs.get("device")
        if not here and not _ours(asked):
            self.check_generator(func, kwargs, False)
            return func(*args, **kwargs)
        if (made := func.decompose(*args, **kwargs)) is not NotImplemented:
            return made  # its parts come here one by one
        to_us = _ours(asked) if asked is not None else True
        if func.overloadpacket in (aten._to_copy, aten.copy_, aten.copy):
            to_us = self.transfer(func, args, to_us)
        elif here:
            self.check(func, args, tensors, len(here))
        self.check_generator(func, kwargs, to_us)
        inner = {k: torch.device("cpu") if k == "device" and v is not None else v
                 for k, v in kwargs.items()}
        held = tree_map_only(StandInTensor, lambda t: t.held, (args, inner))
        out = func(*held[0], **held[1])
        for t in here:
            if t.shape != t.held.shape or t.stride() != t.held.stride():  # unsqueeze_, resize_ …
                t.data = StandInTensor(t.held)
        owners = {id(t.held): t for t in here}  # in-place operations return their argument

        def result(t: Tensor) -> Tensor:
            if id(t) in owners:
                return owners[id(t)]
            return self.wrapped(func, t) if to_us else t
        return tree_map_only(Tensor, result, out)

    def transfer(self, func: Any, args: tuple, to_us: bool) -> bool:
        """Log a copy; whether its result lies on the device."""
        if func.overloadpacket is aten._to_copy:
            from_us = isinstance(args[0], StandInTensor)
        else:  # (destination, source, …)
            to_us, from_us = (isinstance(t, StandInTensor) for t in args[:2])
        if from_us and not to_us:
            self.note("reads", func)
        if to_us and not from_us:
            self.note("uploads", func)
        return to_us

    def check(self, func: Any, args: tuple, tensors: list[Tensor], ours: int) -> None:
        """Log what waits for the device or copies to it.

        Raises:
            RuntimeError: tensors of the device and of the CPU that a real device would not take.
        """
        op = func.overloadpacket
        strangers = [t for t in tensors if not isinstance(t, StandInTensor)]
        if op in INDEXING and isinstance(args[0], StandInTensor):
            indices = [t for t in args[1] if t is not None]
            for t in indices:
                if not isinstance(t, StandInTensor):
                    self.note("uploads", func)
            strangers = [t for t in strangers if not any(t is i for i in indices)]
            masks = [t for t in indices if t.dtype in (torch.bool, torch.uint8)]
            filled = len(args) > 2 and args[2].numel() == 1 and len(masks) == len(indices)
            if masks and not filled:
                self.note("reads", func)
        takes_scalars = torch.Tag.pointwise in func.tags or op in UPLOADING_A_VALUE
        changed = tensors[0] if func._schema.is_mutable else None  # in place: on the device too
        refused = [t for t in strangers if t.dim() or not takes_scalars or t is changed]
        if refused:
            self.note("mixed", func)
            raise RuntimeError(
                f"Expected all tensors to be on the same device, but {func} got {ours} on {DEVICE} "
                f"and {len(refused)} on cpu, of shape {tuple(refused[0].shape)}")
        if strangers:
            self.note("uploads" if op in UPLOADING_A_VALUE else "scalars", func)
        if op in WAITING or (op is aten.repeat_interleave and len(args) == 1):
            self.note("reads", func)

    def check_generator(self, func: Any, kwargs: dict, to_us: bool) -> None:
        """A generator belongs to the device on which it draws.

        Raises:
            RuntimeError: it does not.
        """
        g = kwargs.get("generator")
        if g is not None and StandInGenerator.ours.get(g._cdata, False) != to_us:
            expected, found = (DEVICE.type, "cpu") if to_us else ("cpu", DEVICE.type)
            raise RuntimeError(f"{func}: Expected a '{expected}' device type for generator but "
                               f"found '{found}'")

    def wrapped(self, func: Any, t: Tensor) -> StandInTensor:
        """A result, as a tensor of the device.

        Raises:
            TypeError: it is float64, which the device does not have.
        """
        if t.dtype == torch.float64 and not self.float64:
            raise TypeError(f"{func}: the device has no float64")
        return StandInTensor(t)


def _ours(device: Any) -> bool:
    return device is not None and torch.device(device).type == DEVICE.type


def _caller() -> str:
    """The innermost line of the repository that is not in this file."""
    frame = sys._getframe(1)
    while frame is not None:
        path = frame.f_code.co_filename
        if path.startswith(str(ROOT)) and path != __file__:
            return f"{Path(path).relative_to(ROOT)}:{frame.f_lineno}"
        frame = frame.f_back
    return "outside the repository"


_on: list[Accelerator] = []


@contextmanager
def stand_in(float64: bool = True) -> Iterator[Accelerator]:
    """Turn the stand-in on, and leave torch as it was found."""
    with pytest.MonkeyPatch.context() as patch:
        made = Accelerator(float64)
        patch.setattr(torch, "Generator", StandInGenerator)
        optimizer = sys.modules["torch.optim.optimizer"]
        fused = [*optimizer._get_fused_kernels_supported_devices(), DEVICE.type]
        patch.setattr(optimizer, "_get_fused_kernels_supported_devices", lambda: fused)
        swaps = torch.__future__.get_swap_module_params_on_conversion()
        lifts = torch._C._only_lift_cpu_tensors()
        _on.append(made)
        torch.__future__.set_swap_module_params_on_conversion(True)  # as set_data on a real device
        torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor makes a CPU tensor and copies it
        try:
            with made:
                yield made
        finally:
            torch._C._set_only_lift_cpu_tensors(lifts)
            torch.__future__.set_swap_module_params_on_conversion(swaps)
            _on.remove(made)


@pytest.fixture
def accelerator() -> Iterator[Accelerator]:
    """A stand-in for an accelerator."""
    with stand_in() as made:
        yield made


@pytest.fixture
def accelerator_without_float64() -> Iterator[Accelerator]:
    """The same, as Apple's: float64 raises TypeError."""
    with stand_in(float64=False) as made:
        yield made
