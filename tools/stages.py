"""Run the stages of `make test`: all of them, then say what failed where.

python tools/stages.py              check, notebooks, python
python tools/stages.py check        style, generated files and the order of imports: under a minute, for the inner loop
python tools/stages.py notebooks python
"""

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
PYTEST = [sys.executable, '-m', 'pytest', '-q', '-n', '2', '--durations=5']
STAGES = dict(
    check={
        'style (ruff check)': [BIN / 'ruff', 'check', '.'],
        'format (ruff format)': [BIN / 'ruff', 'format', '--check', '--diff', '-q', '.'],
        'names of the package (ruff check)': [BIN / 'ruff', 'check', '--isolated', '--select', 'F821', 'agentft'],
        'in sync (tools/in_sync.py)': [sys.executable, 'tools/in_sync.py'],
        'imports (tests/test_imports.py)': [sys.executable, '-m', 'pytest', '-q', 'tests/test_imports.py'],
    },
    notebooks={'notebooks (tools/replay.py)': [sys.executable, 'tools/replay.py']},
    python={'tests (pytest)': [*PYTEST, 'tests', '--ignore', 'tests/test_imports.py']},
)


def run(name, command) -> tuple:
    "`(name, passed, seconds)` of one command, whose output goes straight to the terminal."
    print(f'\n— {name}', flush=True)
    t0 = time.time()
    passed = subprocess.run([str(c) for c in command], cwd=ROOT).returncode == 0
    return name, passed, time.time() - t0


def main(chosen):
    if unknown := [s for s in chosen if s not in STAGES]:
        sys.exit(f'no stage {unknown[0]!r}; there are {", ".join(STAGES)}')
    results = [run(name, command) for stage in (chosen or STAGES) for name, command in STAGES[stage].items()]
    print('\nsummary')
    for name, passed, seconds in results:
        print(f'  {"passed" if passed else "FAILED"}  {seconds:5.0f} s  {name}')
    failed = [name for name, passed, _ in results if not passed]
    if failed:
        sys.exit(f'\n{len(failed)} of {len(results)} stages failed; the output above, under each name, says where.')
    print(f'\nall {len(results)} stages passed')


if __name__ == '__main__':
    main(sys.argv[1:])
