"""``python -m common.running …`` is the command ``papers …``, also where nothing is installed."""

from common.running.command import run

run()
