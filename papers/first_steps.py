"""From nothing to a report's page; `papers notebook` makes first_steps.ipynb of these cells."""

# %% [markdown]
# # First steps
#
# From nothing to a report's page in half a minute: train two networks, look at their curves, read
# what the report says of the paper, and check one of its numbers. Nothing is downloaded.
# `pip install -e .` in the clone, a Jupyter of your own, and run all cells. The file has no
# outputs, which the next result would put out of date; `papers site` makes a page that shows them.

# %%
import json
import os
import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import SVG, Markdown, display
from scipy import stats

from common.evidence import tables
from common.evidence.paper import papers
from common.files import ROOT, runs_root
from common.training import tracking

os.chdir(ROOT)


def command(*words: str) -> None:
    """What a person types in a terminal, with `papers` in front; prints its last lines."""
    done = subprocess.run([sys.executable, "-m", "common.running", *words], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    print("\n".join(done.stdout.splitlines()[-5:]))
    assert done.returncode == 0, f"papers {' '.join(words)} ended with {done.returncode}"


# %% [markdown]
# ## 1. Train
#
# Batch Normalization (Ioffe & Szegedy, 2015): the same small sigmoid network with and without it,
# on the 8×8 digits that scikit-learn brings along. Typed again, the command goes on where it was
# stopped.

# %%
command("train", "batchnorm", "experiment=quick")

# %% [markdown]
# ## 2. Look
#
# Every run leaves its metrics in a folder of its own below `runs/`, a line of JSON at a time.

# %%
figure, axes = plt.subplots(figsize=(6, 3))
for experiment, label in (("quick_plain", "without"), ("quick_bn", "with batch normalization")):
    lines = tracking.read(runs_root() / "batchnorm" / experiment / "seed0")
    points = [(x["step"], x["eval/accuracy"]) for x in lines if "eval/accuracy" in x]
    axes.plot(*zip(*points, strict=True), label=label)
axes.set(xlabel="step", ylabel="test accuracy", ylim=(0, 1))
axes.legend()
plt.show()

# %% [markdown]
# ## 3. What the paper says, and what came out
#
# The paper's own experiment takes MNIST and minutes; its runs are recorded in the repository. Each
# published number is a *claim* with a band that was fixed before the runs.

# %%
(paper,) = papers(["batchnorm"])
judgements = {j.claim.id: j for j in paper.judgements()}
shown = [j for j in judgements.values() if j.claim.id.startswith("fig1a")]
display(Markdown(tables.table(
    ["what the paper says", "published", "measured (runs)", "verdict"],
    [[j.claim.says, tables.as_published(j), tables.brief(j), j.verdict] for j in shown])))

# %% [markdown]
# All of them in one picture: the band in grey, the published value a bar, the measured one a mark.

# %%
display(SVG(filename="papers/batchnorm/figures/verdicts.svg"))

# %% [markdown]
# ## 4. Check one number
#
# "With BN, test accuracy after 10,000 steps." From the recorded runs alone, and scipy:

# %%
claim = judgements["fig1a-bn-10k"].claim
accuracies = []
for file in sorted(ROOT.glob("papers/batchnorm/results/bn/seed*.json")):
    steps, values = json.loads(file.read_text())["curves"]["accuracy"]
    accuracies.append(values[steps.index(10000)])
n, mean, half = len(accuracies), np.mean(accuracies), stats.sem(accuracies) * stats.t.ppf(
    0.975, len(accuracies) - 1)
low, high = claim.band
assert claim.published is not None
published, low, high, mean, half = (100 * v for v in (claim.published, low, high, mean, half))
print(f"published {published:.2f} %, band {low:.2f} to {high:.2f} %")
print(f"measured  {mean:.2f} %, 95 % interval {mean - half:.2f} to {mean + half:.2f} %, {n} runs")
assert low <= mean - half and mean + half <= high, "not reproduced"

# %% [markdown]
# And does the code still compute what was recorded? `papers recheck` begins recorded runs again and
# compares their first losses; here those of back-propagation (1986), which needs no data at all.

# %%
command("recheck", "backprop", "at_most=1s")

# %% [markdown]
# ## 5. The report's page
#
# How a report begins; the whole of it is [batchnorm/REPORT.md](batchnorm/REPORT.md). Next:
# [what to study here](STUDY.md), or a paper of your own, [step by step](README.md).

# %%
beginning = (paper.folder / "REPORT.md").read_text().split("\n## ")[0]
for here, there in (("figures/", "batchnorm/figures/"), ("README.md", "batchnorm/README.md"),
                    ("#", "batchnorm/REPORT.md#")):
    beginning = beginning.replace(f"]({here}", f"]({there}")
display(Markdown(beginning))
