"""Runs the blocks of one page: `python runner.py FOLDER < job.json > results.json`.

A job is {"blocks": [{"language": "python" or "sh", "code": ..., options ...}, ...]}; the results
are what each block printed, its figures as PNG and the files that it publishes, both in base64.
"""

import base64
import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path


def _figures(options):
    """The open figures as PNG in base64; closed."""
    if "matplotlib.pyplot" not in sys.modules:
        return []
    plt = sys.modules["matplotlib.pyplot"]
    pictures = []
    for number in plt.get_fignums():
        assert "alt" in options, 'a block that draws needs alt="..."'
        stream = io.BytesIO()
        plt.figure(number).savefig(stream, dpi=130, bbox_inches="tight")
        pictures.append(base64.b64encode(stream.getvalue()).decode())
    plt.close("all")
    return pictures


def shown_files(block):
    """Names of the files that a block publishes, by their last part."""
    return {Path(name).name: Path(name) for name in block.get("show", "").split()}


def _execute(block, names):
    """What one block prints, in the current folder."""
    if block["language"] == "sh":
        run = subprocess.run(block["code"], shell=True, capture_output=True, text=True)
        both, status = run.stdout + run.stderr, int(block.get("status", 0))
        assert run.returncode == status, f"{block['code']}status {run.returncode}\n{both}"
        return both if status else run.stdout  # without the logs of backends
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(block["code"], "page", "exec"), names)
    return out.getvalue()


def main():
    """Read a job from the standard input, execute it in a folder, write the results as JSON."""
    job = json.load(sys.stdin)
    os.chdir(sys.argv[1])
    names, results = {"__name__": "page"}, []
    for block in job["blocks"]:
        out = _execute(block, names)
        files = {
            name: base64.b64encode(path.read_bytes()).decode()
            for name, path in shown_files(block).items()
        }
        results.append({"out": out, "figures": _figures(block), "files": files})
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
