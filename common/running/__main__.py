"""``python -m common.running …`` is the command ``papers …``, and works without installation."""

from common.running.command import run

run()
