"""Where numbers come from: the code, the versions and the machine of one process.

Results, checkpoints and reports say it in these terms.
"""

from __future__ import annotations

from pydantic import Field

from common.typed import Open


class Hardware(Open):
    """A machine, as one process used it; ``gpu`` and what follows only where it had a card."""

    cpu: str
    cores: int | None = None
    capability: str
    system: str = ""
    device: str
    threads: int = Field(ge=1)
    gpu: str | None = None
    driver: str | None = None
    cuda: str | None = None
    cudnn: str | None = None
    precision: str | None = None

    @property
    def processor(self) -> str:
        """The processor as far as its speed goes: its name, and the vector instructions it has.

        The name alone may hide years of difference: virtual machines show one for a whole family.
        """
        return f"{self.cpu} ({self.capability})"

    @property
    def machine(self) -> str:
        """What a speed belongs to: the graphics card where there was one, else the processor."""
        return self.gpu or self.processor


class Versions(Open):
    """Of the packages that computed; of some more by their names."""

    python: str = ""
    torch: str


class Origin(Open):
    """The provenance of one process.

    Attributes:
        commit, dirty: of the code, and whether it differed from that commit.
        versions, hardware: what computed.
        side_by_side: how many runs the process trained at a time, where more than one.
        processes: how many trained the run together, where more than one.
    """

    commit: str
    dirty: bool
    versions: Versions
    hardware: Hardware
    side_by_side: int | None = None
    processes: int | None = None

    @property
    def code(self) -> str:
        """The commit in short, with a mark where the code differed from it."""
        return self.commit[:10] + ("+changes" if self.dirty else "")


class Segment(Origin):
    """The share of one process in a run: from which step, and from which weights it started."""

    from_step: int = Field(ge=0)
    started_from: dict[str, str] | None = None
