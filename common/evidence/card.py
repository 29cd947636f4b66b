"""Model cards for files of weights, in the model hub's format.

A card begins with YAML for the hub's pages and tools (``license``, ``datasets``, ``model-index``
with the measured results); the rest tells people what the file is, how good, and how to use it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import yaml
from scipy.stats import binomtest

from common.data import REGISTRY


@dataclass(frozen=True)
class Evaluation:
    """A test error.

    Attributes:
        data: name of the data set.
        error: the error on its test split, in %.
        images: number of images in the test split.
    """

    data: str
    error: float
    images: int

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the error in %, treating the images as independent."""
        wrong = round(self.error / 100 * self.images)
        low, high = binomtest(wrong, self.images).proportion_ci(method="wilson")
        return 100 * low, 100 * high


def card(name: str, about: Sequence[str], evaluation: Evaluation, load: str, again: str,
         notes: Sequence[str] = ()) -> str:
    """The text of a model card.

    Args:
        name: the file's name, without suffix.
        about: the lines of a paragraph: which network, trained on what and how.
        evaluation: its test error.
        load: Python code that loads it.
        again: the command that trains it again.
        notes: items of a list, such as its inputs and outputs.
    """
    data = REGISTRY[evaluation.data].hub if evaluation.data in REGISTRY else evaluation.data
    low, high = evaluation.interval
    head = {
        "license": "mit", "library_name": "pytorch", "pipeline_tag": "image-classification",
        "datasets": [data],
        "model-index": [{"name": name, "results": [{
            "task": {"type": "image-classification"},
            "dataset": {"name": evaluation.data, "type": data, "split": "test"},
            "metrics": [{"type": "accuracy", "name": "test accuracy",
                         "value": round(1 - evaluation.error / 100, 6)}]}]}]}
    said = [f"- **Test error {evaluation.error:.2f} %** at the last step, on all "
            f"{evaluation.images:,} test images; as of so\n  many independent images the 95 % "
            f"interval is {low:.2f} … {high:.2f} %.",
            *(f"- {note}" for note in notes),
            "- Licence: MIT, as this repository. The images have terms of their own."]
    front = yaml.safe_dump(head, sort_keys=False, allow_unicode=True)
    return "\n".join(["---", front.rstrip(), "---", f"# {name}", "", *about, "", *said, "",
                      "```python", load, "```", "", "Trained by", "", "```sh", again, "```", ""])
