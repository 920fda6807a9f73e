"""A hook of mkdocs: executes the code of pages, and shows what it printed and drew.

Blocks that open with "```python run" or "```sh run" are executed: those of one page in their order,
in one process and an empty folder. Options behind `run`: `alt="..."` describes the figures of the
block and `caption="..."` is put below them, `wrap="lines"` breaks long lines of the output,
`show="report.html"` publishes a file, and `status="2"` is what a command must end with. The front
matter of a page may say `backend: torch`.

Results are kept in build/docs, under a hash of the code and of the files that it may read.
With LIPKIT_DOCS=text in the environment nothing is executed.
"""

import base64
import concurrent.futures
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
RUNNER = Path(__file__).with_name("runner.py")
CACHE = ROOT / "build" / "docs"
BLOCK = re.compile(r"(?ms)^```(python|sh) run(.*?)\n(.*?)^```\n")
BACKEND = re.compile(r"(?m)\A---\n(?:.*\n)*?backend: (\w+)\n")
WIDTH = 96  # of the terminal that commands see
INPUTS = ("src/**/*.py", "examples/*.py", "benchmarks/results/*.*")


def blocks(text):
    """The executed blocks of a page: dicts of language, code and options."""
    return [
        {"language": language, "code": code, **dict(re.findall(r'(\w+)="(.*?)"', options))}
        for language, options, code in BLOCK.findall(text)
    ]


def on_files(files, config):
    """Put outputs and figures into the pages, and the figures among the files."""
    from mkdocs.structure.files import File

    pages = {
        file: file.content_string for file in files.documentation_pages() if not file.generated_by
    }
    pages = {file: text for file, text in pages.items() if BLOCK.search(text)}
    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        results = list(pool.map(_results, pages, pages.values()))
    for (file, text), result in zip(pages.items(), results, strict=True):
        made = {}
        found = zip(blocks(text), result, strict=True)
        shown = iter([_shown(block, given, file, made) for block, given in found])
        text = BLOCK.sub(lambda _, shown=shown: next(shown), text)
        files.remove(file)
        for uri, content in {file.src_uri: text, **made}.items():
            files.append(File.generated(config, uri, content=content))
    return files


def _shown(block, result, page, made):
    """The Markdown of a block and of what it gave; the files beside the page go to `made`."""
    stem, language = page.src_uri.removesuffix(".md"), block["language"].replace("sh", "console")
    parts = [f"```{language}\n{block['code']}```"]
    if result["out"].strip():
        style = ".text .output" + " .wrapped" * ("wrap" in block)
        parts.append(f"```{{{style}}}\n{result['out'].rstrip()}\n```")
    for figure in result["figures"]:
        uri = f"{stem}-{len(made)}.png"
        made[uri] = base64.b64decode(figure)
        parts.append(f"![{block['alt']}]({Path(uri).name}){{ .figure }}")
    if "caption" in block and result["figures"]:
        parts.append(f"*{block['caption']}*")
    for name, content in result["files"].items():
        made[f"{stem}-{name}"] = base64.b64decode(content)
    return "\n\n".join(parts) + "\n"


def _results(file, text):
    """What the blocks of a page give, from the cache or by running them."""
    from mkdocs.exceptions import PluginError

    if os.environ.get("LIPKIT_DOCS") == "text":
        return [_nothing(block) for block in blocks(text)]
    backend = BACKEND.search(text)
    job = {"blocks": blocks(text), "backend": backend[1] if backend else "jax"}
    key = hashlib.sha256(json.dumps(job).encode() + _sources()).hexdigest()[:24]
    path = CACHE / f"{key}.json"
    if not path.exists():
        start = time.time()
        with tempfile.TemporaryDirectory() as folder:
            run = subprocess.run(
                [sys.executable, RUNNER, folder],
                input=json.dumps(job),
                env=environment(job["backend"]),
                capture_output=True,
                text=True,
            )
        if run.returncode:
            raise PluginError(f"{file.src_uri} failed:\n{run.stderr[-4000:]}")
        CACHE.mkdir(parents=True, exist_ok=True)
        path.write_text(run.stdout)
        print(f"{file.src_uri}: executed in {time.time() - start:.0f} s", flush=True)
    return json.loads(path.read_text())


def _nothing(block):
    """What a block gives that is not executed."""
    names = [Path(name).name for name in block.get("show", "").split()]
    return {"out": "", "figures": [], "files": dict.fromkeys(names, "")}


def _sources():
    """A hash of what the code of a page may depend on."""
    digest = hashlib.sha256(RUNNER.read_bytes())
    for path in sorted(path for pattern in INPUTS for path in ROOT.glob(pattern)):
        digest.update(path.read_bytes())
    return digest.digest()


def environment(backend):
    """That of the programs: the commands of this Python first, and the repository as REPO."""
    return {
        **os.environ,
        "KERAS_BACKEND": backend,
        "MPLBACKEND": "agg",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "OMP_NUM_THREADS": "1",
        "COLUMNS": str(WIDTH),
        "REPO": str(ROOT),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
