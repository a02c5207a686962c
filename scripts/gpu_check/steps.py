"""Programs with a time limit, and a budget of seconds that the steps share."""

import os
import signal
import subprocess
import time


class Failed(Exception):
    """A step that did not do what it should; its text is for the report."""


def run(command, limit, environment=None, cwd=None):
    """Standard output of a program. Failed: it ended with another status than 0, or it was stopped at its limit with all it had started."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **(environment or {})}, cwd=cwd, start_new_session=True, text=True
    )
    try:
        out, errors = process.communicate(timeout=max(1, limit))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, errors = process.communicate()
        failure = Failed(f"stopped after {limit:.0f} s: {' '.join(command)}")
        failure.output = out
        raise failure from None
    if process.returncode != 0:
        failure = Failed(f"{' '.join(command)} ended with {process.returncode}: {(errors or out)[-1500:].strip()}")
        failure.output = out
        raise failure
    return out


class Budget:
    """Steps one after the other, each with its own limit, all within the budget. One that fails does not stop the next."""

    def __init__(self, seconds):
        self.end = time.monotonic() + seconds
        self.steps = []

    def left(self):
        return self.end - time.monotonic()

    def step(self, name, limit, work):
        """What `work(limit)` returns, or None when it failed or no time was left for it."""
        entry = {"step": name, "seconds": 0, "state": "not run: no time was left"}
        self.steps.append(entry)
        limit = min(limit, self.left())
        if limit < 5:
            print(f"{name}: {entry['state']}", flush=True)
            return None
        print(f"{name} (at most {limit:.0f} s)", flush=True)
        start, result = time.monotonic(), None
        try:
            result = work(limit)
            entry["state"] = "done"
        except Exception as failure:  # whatever it is, the next step may tell more
            entry["state"] = f"failed: {type(failure).__name__}: {failure}"
        entry["seconds"] = round(time.monotonic() - start, 1)
        print(f"  {entry['state']}, {entry['seconds']} s", flush=True)
        return result
