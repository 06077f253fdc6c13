"""Work beside other work."""

import threading
import traceback

import pytest


class Job:
    """Work in a thread of its own, since deploying is mostly waiting. Who asks for the outcome gets the trouble."""

    def __init__(self, work, *arguments):
        self.outcome = self.trouble = None
        self.thread = threading.Thread(target=self.work, args=(work, *arguments), daemon=True)
        self.thread.start()

    def work(self, work, *arguments):
        try:
            self.outcome = work(*arguments)
        except BaseException:
            self.trouble = traceback.format_exc()

    def result(self):
        self.thread.join()
        if self.trouble:
            told, self.trouble = self.trouble, f"failed before, see there: {self.trouble.splitlines()[-1]}"
            pytest.fail(told, pytrace=False)
        return self.outcome
