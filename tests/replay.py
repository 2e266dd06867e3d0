"""Replay notebooks and compare what they put out with what is stored in them.

    python tests/replay.py                     every notebook (nbval), then nbdev's tests of the library notebooks
    python tests/replay.py nbs/04_runs.ipynb   only these, with nbval
    python tests/replay.py --store nbs/...     run these in place and keep what they put out (make outputs: all of them)

nbval needs execution counts, which nbdev_clean takes away: so it gets a scratch copy in which they are restored. The copy stands in a
folder with links to everything else of the checkout, so that relative paths lead to the same places. nbdev_test reads the
notebooks as they are, and runs the library ones a second way: in one plain Python process each, without a kernel.
"""
import json, os, subprocess, sys, tempfile, time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SLOW = '9_|^index|^[_.]'  # phase notebooks: nbval runs them, once is enough


def scratch(folder, notebooks):
    "A stand-in for the checkout in `folder`, with copies of `notebooks` whose execution counts are restored."
    (folder/'nbs').mkdir()
    for p in ROOT.iterdir():
        if p.name not in ('nbs', '.git', '.venv'): (folder/p.name).symlink_to(p)
    for p in (ROOT/'nbs').iterdir():
        if p.suffix != '.ipynb' and not p.name.startswith('.'): (folder/'nbs'/p.name).symlink_to(p)
    out = []
    for p in notebooks:
        nb, n = json.loads(p.read_text(encoding='utf-8')), 0
        for c in nb['cells']:
            if c['cell_type'] != 'code': continue
            n += 1
            c['execution_count'] = n
            for o in c['outputs']:
                if o['output_type'] == 'execute_result': o['execution_count'] = n
        out.append(folder/'nbs'/p.name)
        out[-1].write_text(json.dumps(nb), encoding='utf-8')
    return out


def store(notebooks):
    "Run notebooks in place, and clean them."
    for p in notebooks:
        t0 = time.time()
        print(f'{p.relative_to(ROOT)} ', end='', flush=True)
        r = subprocess.run([sys.executable, '-m', 'jupyter', 'nbconvert', '--to', 'notebook', '--execute', '--inplace', '--ExecutePreprocessor.timeout=900', str(p)],
                           capture_output=True, text=True)
        if r.returncode: sys.exit(f'failed:\n{r.stderr[-3000:]}')
        subprocess.run([str(Path(sys.executable).parent/'nbdev_clean'), '--fname', str(p)], check=True, cwd=ROOT)
        print(f'{time.time() - t0:.0f} s', flush=True)


def main(args):
    t0, keep = time.time(), args[:1] == ['--store']
    given = [Path(a).resolve() for a in args[keep:]]
    notebooks = given or sorted(p for p in (ROOT/'nbs').glob('*.ipynb') if not p.name.startswith(('_', '.')))
    missing = [p for p in notebooks if not p.exists()]
    if missing: sys.exit(f'there is no {missing[0]}')
    if keep: return store(notebooks)
    with tempfile.TemporaryDirectory(prefix='agentft-replay-') as d:
        d = Path(d)
        (d/'root').mkdir()
        copies = scratch(d/'root', notebooks)
        quiet = d/'ipython'/'profile_default'
        quiet.mkdir(parents=True)
        (quiet/'ipython_kernel_config.py').write_text('c.IPKernelApp.log_level = 40\n')
        env = dict(os.environ, IPYTHONDIR=str(d/'ipython'), PYDEVD_DISABLE_FILE_VALIDATION='1', PYTHONWARNINGS='ignore::DeprecationWarning')
        print(f'nbval: {len(copies)} notebooks', flush=True)
        ok = subprocess.run([sys.executable, '-m', 'pytest', '--nbval', '--nbval-current-env', '--nbval-cell-timeout=900', '--no-header', '-p', 'no:cacheprovider',
                             '--durations=8', '--color=auto', '--rootdir', str(d/'root'), *map(str, copies)], cwd=d/'root', env=env).returncode == 0
    if not ok: sys.exit('\nA notebook puts out something else than what is stored in it, or fails: read the difference above. '
                        'Where the new output is right, keep it: python tests/replay.py --store nbs/NAME.ipynb')
    print(f'nbval: {time.time() - t0:.0f} s', flush=True)
    if not given:
        t0 = time.time()
        print('nbdev_test: library notebooks', flush=True)
        if subprocess.run([str(Path(sys.executable).parent/'nbdev_test'), '--skip_file_re', SLOW, '--n_workers', '2', '--do_print', '--timing'], cwd=ROOT).returncode:
            sys.exit('\nA library notebook fails in a plain Python process: the traceback above names its cell.')
        print(f'nbdev_test: {time.time() - t0:.0f} s', flush=True)


if __name__ == '__main__': main(sys.argv[1:])
