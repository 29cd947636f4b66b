"""What every program imports first, so that it notices a current folder that is gone.

torch cannot be loaded there: its libraries end the process with a message about themselves.
"""

from __future__ import annotations

from common.errors import exit_with as exit_with
from common.errors import expect_current_folder

expect_current_folder()
