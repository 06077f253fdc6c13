"""Processes with their logs in files, all ended with the test."""

import os
import signal
import subprocess
import time

# For what tests have to install, before the fixtures take them away; everything that is tested is on this machine.
PROXIES = {name: value for name, value in os.environ.items() if name.upper().endswith("_PROXY")}
# What processes get to see: nothing of the machine's AWS configuration, proxies or settings.
PLAIN = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}


class Process:
    def __init__(self, name, command, env, directory):
        self.name = name
        self.out_path = directory / f"{name}.out"
        self.log_path = directory / f"{name}.log"
        self.started = time.monotonic()
        with open(self.out_path, "wb") as out, open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                [str(part) for part in command],
                env={**PLAIN, "HOME": str(directory), **env},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
                cwd=directory,
                start_new_session=True,
            )

    @property
    def code(self):
        return self.process.poll()

    @property
    def running(self):
        return self.code is None

    def out(self):
        return self.out_path.read_text()

    def log(self):
        return self.log_path.read_text()

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        """kill -9, as the system's memory killer or a lost machine would."""
        self.process.kill()
        self.process.wait(timeout=10)

    def ended(self, seconds):
        """The exit code; fails when there is none in time."""
        try:
            return self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} has not ended within {seconds:g} s") from None

    def stop(self):
        if self.running:
            self.process.terminate()
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait(timeout=10)


class Processes:
    """Starts processes for one test or one session."""

    def __init__(self, directory):
        self.directory = directory
        self.all = []

    def start(self, name, command, env=None):
        names = {process.name for process in self.all}
        free = next(n for n in [name, *(f"{name}-{i}" for i in range(2, 1000))] if n not in names)
        process = Process(free, command, env or {}, self.directory)
        self.all.append(process)
        return process

    def stop(self):
        for process in reversed(self.all):
            process.stop()
