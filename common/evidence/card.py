"""Cards of published weights, in the model hub's format: what a file is, how good, how to use it.

The first lines of a card are YAML that a hub's page and its tools read (``license``, ``datasets``,
``model-index`` with the measured results); the rest is for people.
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
        error: on its test split, in %.
        images: how many images that has.
    """

    data: str
    error: float
    images: int

    @property
    def interval(self) -> tuple[float, float]:
        """The error's 95 % interval in %, as of that many independent images (Wilson's)."""
        wrong = round(self.error / 100 * self.images)
        low, high = binomtest(wrong, self.images).proportion_ci(method="wilson")
        return 100 * low, 100 * high


def card(name: str, about: Sequence[str], evaluation: Evaluation, load: str, again: str,
         notes: Sequence[str] = ()) -> str:
    """The text of a card.

    Args:
        name: of the file, without suffix.
        about: lines of a paragraph: what network, trained on what, by what.
        evaluation: how good it is.
        load: Python that loads it.
        again: the command that makes it.
        notes: items of a list, such as what goes in and comes out.
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
