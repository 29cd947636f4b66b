"""A small data set in the layout of the data hub."""

import datasets
import numpy as np
import pytest


@pytest.fixture
def small_hub(tmp_path, monkeypatch):
    """A folder in the hub's layout with a small data set called mnist."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "hub" / "ylecun" / "mnist" / "mnist"
    folder.mkdir(parents=True)
    made = {}
    for split, n in (("train", 30), ("test", 10)):
        images = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        labels = np.arange(n) % 10
        features = datasets.Features({"image": datasets.Image(),
                                      "label": datasets.ClassLabel(num_classes=10)})
        datasets.Dataset.from_dict({"image": list(images), "label": labels}, features=features
                                   ).to_parquet(str(folder / f"{split}-00000-of-00001.parquet"))
        made[split] = images, labels
    monkeypatch.setenv("PAPERS_DATA", str(tmp_path / "hub"))
    return folder, made
