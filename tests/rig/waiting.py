"""Waiting for something to become true, with a deadline."""

import time


def wait_for(what, probe, seconds=30.0, every=0.05, alive=()):
    """Calls `probe` until it returns something true, and returns that.

    Fails when `seconds` are over, or at once when one of the processes in `alive` has ended.
    """
    deadline = time.monotonic() + seconds
    while True:
        found = probe()
        if found:
            return found
        for process in alive:
            assert process.running, f"{process.name} ended with {process.code} while waiting for: {what}"
        assert time.monotonic() < deadline, f"waited {seconds:g} s for: {what}; last seen: {found!r}"
        time.sleep(every)
