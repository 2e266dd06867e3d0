"""Make the project's own history for `agentft run own-history`: a trail, a repository and sessions, all simulated.

    python tools/make_samples.py                 into samples/own-history/
    python tools/make_samples.py FOLDER          into another folder

The same content on every machine: fixed dates, seeds and ids. The bytes of the bundle and of the packed files may
differ with the versions of git and xz; tests/test_samples.py compares what is in them.
"""

import shutil
import sys
import tempfile
from pathlib import Path

from samples.repository import write_bundle
from samples.sessions import write_sessions
from samples.trail import write_trail

ROOT = Path(__file__).resolve().parent.parent


def make(folder: Path) -> dict:  # how many of each were made
    "Write all samples into `folder`; what lay there of an earlier run is replaced."
    for name in ('trail', 'sessions'):
        shutil.rmtree(folder / name, ignore_errors=True)
    jobs = write_trail(folder / 'trail')
    with tempfile.TemporaryDirectory() as scratch:
        commits = write_bundle(folder / 'repository.bundle', Path(scratch))
    return dict(jobs=len(jobs), commits=len(commits), sessions=write_sessions(folder / 'sessions'))


if __name__ == '__main__':
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / 'samples' / 'own-history'
    print(folder, make(folder))
