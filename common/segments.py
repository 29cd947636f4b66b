"""Provenance: the code, the versions and the machine of one process.

Results, checkpoints and reports share these models.
"""

from __future__ import annotations

from pydantic import Field

from common.typed import Open

MOST_STEPS, MOST_CORES, MOST_PROCESSES = 10**9, 10**4, 10**4
"""Bounds of what is believed of a run: its steps, its machine's cores, processes that share it."""

MOST_SECONDS = 1e9
"""The largest number of seconds that a run can have taken: thirty years."""


class Hardware(Open):
    """The machine one process ran on; ``gpu`` and the fields below it only with a graphics card."""

    cpu: str
    cores: int | None = Field(None, ge=1, le=MOST_CORES)
    capability: str
    system: str = ""
    device: str
    threads: int = Field(ge=1, le=MOST_CORES)
    gpu: str | None = None
    driver: str | None = None
    cuda: str | None = None
    cudnn: str | None = None
    precision: str | None = None

    @property
    def processor(self) -> str:
        """The processor's name and its vector instructions, which together determine its speed.

        The name alone is not enough: virtual machines may show one name for several generations.
        """
        return f"{self.cpu} ({self.capability})"

    @property
    def machine(self) -> str:
        """What a measured speed refers to: the graphics card if there was one, else the CPU."""
        return self.gpu or self.processor


class Versions(Open):
    """The versions of Python, torch and, as extra fields, other packages."""

    python: str = ""
    torch: str


class Origin(Open):
    """The provenance of one process.

    Attributes:
        commit, dirty: the commit of the code, and whether the code differed from it.
        versions, hardware: the software and the machine.
        side_by_side: how many runs the process trained at a time, if more than one.
        processes: how many processes trained the run together, if more than one.
    """

    commit: str
    dirty: bool
    versions: Versions
    hardware: Hardware
    side_by_side: int | None = Field(None, ge=1, le=MOST_PROCESSES)
    processes: int | None = Field(None, ge=1, le=MOST_PROCESSES)

    @property
    def code(self) -> str:
        """The abbreviated commit, marked ``+changes`` if the code differed from it."""
        return self.commit[:10] + ("+changes" if self.dirty else "")


class Segment(Origin):
    """One process's part of a run.

    Attributes:
        from_step: its first step.
        from_seconds: the training time of the parts before it; None if there are none, or if it was
            not kept.
        started_from: the weights the run started from, if any.
    """

    from_step: int = Field(ge=0, le=MOST_STEPS)
    from_seconds: float | None = Field(None, ge=0, le=MOST_SECONDS)
    started_from: dict[str, str] | None = None
