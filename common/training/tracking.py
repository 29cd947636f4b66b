"""A run's metrics: always a JSONL file in its folder, and Weights & Biases on request."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from common.config import Config, as_dict, one_line
from common.errors import UserError, warn
from common.files import shown, write_atomic
from common.training.checkpoint import Lines, Number
from common.typed import Open, checked

FILE = "metrics.jsonl"


class Line(Open):
    """A line of the metrics file: a step, its loss, and metrics named ``eval/…``."""

    step: int = Field(ge=0)
    loss: Number = 0.0

    @model_validator(mode="after")
    def _numbers(self) -> Line:
        for k, v in {"loss": self.loss, **(self.model_extra or {})}.items():
            if k == "loss" or k.startswith("eval/"):
                if type(v) not in (int, float):
                    raise ValueError(f"{k}: {str(v)[:60]!r}: expected a number")
                if math.isnan(v):
                    raise ValueError(f"{k}: nan: expected a number")
        return self


def read(folder: Path, until: int | None = None) -> list[dict[str, Any]]:
    """Read a run's metrics file up to a step; skips a line truncated when a process was killed.

    Raises:
        UserError: a complete line is not a :class:`Line`.
    """
    path, lines = folder / FILE, []
    if path.exists():
        texts = path.read_text(encoding="utf-8", errors="replace").splitlines()
        for number, text in enumerate(texts, 1):
            try:
                line = json.loads(text)
            except (ValueError, RecursionError):
                continue
            try:
                checked(Line, line, f"{shown(path)}, line {number}")
            except UserError as e:
                raise UserError(f"{e}; add fresh=true to start anew") from e
            if until is None or line["step"] <= until:
                lines.append(line)
    return lines


class Tracker:
    """Writes one JSON line per call of :meth:`log`.

    Args:
        folder: the run's folder.
        config: the run's configuration; ``tracking.wandb`` turns on Weights & Biases.
        step: the step the run resumes from; lines of later steps are removed.
        name: the run's name in Weights & Biases, such as ``batchnorm/bn/seed0``.
        evaluated: False if the evaluation logged at ``step`` will be made again.
        expected: the :attr:`state` recorded for that step, if any.

    Attributes:
        state: the number of lines, and their SHA-256.

    Raises:
        UserError: the lines in the folder are not the expected ones, or it cannot be written.

    An error of Weights & Biases prints one warning and never stops the run.
    """

    def __init__(self, folder: Path, config: Config, step: int, name: str,
                 evaluated: bool = True, expected: Lines | None = None):
        kept = read(folder, until=step) if step else []
        if not evaluated:
            kept = [line for line in kept
                    if line["step"] < step or not any(k.startswith("eval/") for k in line)]
        self._lines, self._digest = 0, hashlib.sha256()
        text = "".join(self._counted(line) for line in kept)
        if expected is not None and self.state != expected:
            raise UserError(f"{shown(folder / FILE)} does not match the checkpoint of step "
                            f"{step}: expected {expected.lines} lines up to there, found "
                            f"{self._lines}{' others' * (self._lines == expected.lines)}; put "
                            "it back, or add fresh=true to start anew")
        if text or (folder / FILE).exists():
            write_atomic(folder / FILE, text)
        try:
            self._file = open(folder / FILE, "a", encoding="utf-8", newline="\n")
        except OSError as e:
            raise UserError(f"cannot write {shown(folder / FILE)}: {e.strerror}") from e
        self._wandb = self._start_wandb(folder, config, name)

    def _start_wandb(self, folder: Path, config: Config, name: str) -> Any:
        mode = config.tracking.wandb
        if mode == "disabled":
            return None
        try:
            import wandb

            if mode == "online" and not wandb.api.api_key:  # wandb would prompt for one
                warn("no Weights & Biases login (wandb login); tracking offline in "
                     f"{shown(folder)}")
                mode = "offline"
            os.environ.setdefault("WANDB_SILENT", "true")
            return wandb.init(
                project=config.tracking.project, name=name, dir=str(folder), mode=mode,
                id=hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16],
                resume="allow", config=as_dict(config), settings=wandb.Settings(init_timeout=20))
        except Exception as e:  # a failure of tracking must not stop the run
            warn(f"Weights & Biases is off: {one_line(e)}")
            return None

    def log(self, step: int, **metrics: float | str) -> None:
        """Append one line: the step and named values."""
        self._file.write(self._counted({"step": step, **metrics}))
        if self._wandb is not None:
            try:
                self._wandb.log(metrics, step=step)
            except Exception as e:
                warn(f"Weights & Biases is off: {one_line(e)}")
                self._wandb = None

    @property
    def state(self) -> Lines:
        return Lines(lines=self._lines, sha256=self._digest.hexdigest())

    def _counted(self, line: dict[str, Any]) -> str:
        text = json.dumps(line) + "\n"
        self._lines += 1
        self._digest.update(text.encode())
        return text

    def flush(self) -> None:
        """Write everything logged so far to disk."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file and end the Weights & Biases run, if any."""
        self._file.close()
        if self._wandb is not None:
            with contextlib.suppress(Exception):
                self._wandb.finish()
