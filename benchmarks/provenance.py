"""What a result must carry: where, when and of which code it is."""

import datetime
import os
import platform
import subprocess

import keras


def provenance() -> dict:
    """Backend, machine, date and commit ("+" if the work tree differs) of this run."""
    describe = ["git", "describe", "--always", "--exclude=*", "--dirty=+"]
    result = subprocess.run(describe, capture_output=True, text=True, check=False)
    return {
        "backend": keras.backend.backend(),
        "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores",
        "date": datetime.date.today().isoformat(),
        "commit": result.stdout.strip(),
    }
