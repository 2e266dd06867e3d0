"""Replay notebooks and compare what they put out with what is stored in them.

    python tools/replay.py                          every notebook (nbval), then nbdev's tests of the library notebooks
    python tools/replay.py nbs/core/06_metrics.ipynb  only these, with nbval
    python tools/replay.py --store nbs/...          run these in place and keep what they put out

nbval needs execution counts, which nbdev_clean takes away: so it gets a scratch copy in which they are restored. The
copy stands in a folder with links to everything else of the checkout, so that relative paths lead to the same places.
nbdev_test reads the notebooks as they are, and runs the library ones a second way: in one plain Python process each.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NBS = ROOT / 'nbs'
BIN = Path(sys.executable).parent
# Two notebooks start kernels at a time, and Jupyter picks a kernel's TCP ports before the kernel binds them: now and
# then another took one in between, and the kernel died. Unix sockets, whose names are the kernel's own, can't collide.
UNIX_SOCKETS = '''
import sys
import uuid

from nbval import kernel


class OnUnixSockets(kernel.KernelManager):
    def __init__(self, **kw):
        super().__init__(transport='ipc', connection_file=f'FOLDER/{uuid.uuid4().hex[:12]}.json', **kw)


if sys.platform == 'linux':  # elsewhere the path of a scratch folder may be too long for a socket
    kernel.KernelManager = OnUnixSockets
'''
PHASES = r'^\d_|^index|^[_.]'  # names of notebooks that nbval alone runs: once is enough


def notebooks():
    "Every notebook of the project, in reading order."
    return sorted(
        p for p in NBS.rglob('*.ipynb') if not any(x.startswith(('_', '.')) for x in p.relative_to(NBS).parts)
    )


def counted(path):
    "The text of a notebook with execution counts restored."
    nb, n = json.loads(path.read_text(encoding='utf-8')), 0
    for cell in nb['cells']:
        if cell['cell_type'] != 'code':
            continue
        n += 1
        cell['execution_count'] = n
        for out in cell['outputs']:
            if out['output_type'] == 'execute_result':
                out['execution_count'] = n
    return json.dumps(nb)


def scratch(folder, chosen):
    "A stand-in for the checkout in `folder`, with counted copies of the `chosen` notebooks."
    (folder / 'nbs').mkdir()
    for p in ROOT.iterdir():
        if p.name not in ('nbs', '.git', '.venv'):
            (folder / p.name).symlink_to(p)
    out = []
    for p in NBS.rglob('*'):
        copy = folder / 'nbs' / p.relative_to(NBS)
        if p.is_dir() and p.name != '.ipynb_checkpoints':
            copy.mkdir(exist_ok=True, parents=True)
        elif p.is_file() and p.suffix != '.ipynb':
            copy.symlink_to(p)
    for p in chosen:
        out.append(folder / 'nbs' / p.relative_to(NBS))
        out[-1].write_text(counted(p), encoding='utf-8')
    return out


def says(text) -> bool:
    "Is there more than a progress bar in what was written to stderr?"
    return bool(text.strip()) and '\r' not in text and '%|' not in text


def drop_bars(path):
    "Take progress bars out of the outputs of a notebook: they tell of the machine that ran it."
    nb = json.loads(path.read_text(encoding='utf-8'))
    for cell in nb['cells']:
        if 'outputs' in cell:
            cell['outputs'] = [o for o in cell['outputs'] if o.get('name') != 'stderr' or says(''.join(o['text']))]
    path.write_text(json.dumps(nb, ensure_ascii=False, indent=1) + '\n', encoding='utf-8')


def store(chosen):
    "Run notebooks in place, and clean them."
    for p in chosen:
        t0 = time.time()
        print(f'{p.relative_to(ROOT)} ', end='', flush=True)
        cmd = [sys.executable, '-m', 'jupyter', 'nbconvert', '--to', 'notebook', '--execute', '--inplace']
        options = ['--ExecutePreprocessor.timeout=900', '--ExecutePreprocessor.coalesce_streams=True']
        options += ['--ExecutePreprocessor.store_widget_state=False']  # its ids are random
        r = subprocess.run([*cmd, *options, str(p)], capture_output=True, text=True)
        if r.returncode:
            sys.exit(f'failed:\n{r.stderr[-3000:]}')
        drop_bars(p)
        subprocess.run([str(BIN / 'nbdev_clean'), '--fname', str(p)], check=True, cwd=ROOT)
        print(f'{time.time() - t0:.0f} s', flush=True)


def prepare():
    "Convert the model's tokenizer into the cache once, so that no notebook's output shows it being done."
    code = 'from agentft.model.loading import load_tokenizer; load_tokenizer()'
    subprocess.run([sys.executable, '-c', code], cwd=ROOT, check=True, env=dict(os.environ, PYTHONPATH=str(ROOT)))


def run_nbval(chosen) -> bool:
    "Compare outputs, two notebooks at a time; does everything agree?"
    with tempfile.TemporaryDirectory(prefix='agentft-replay-') as d:
        d = Path(d)
        (d / 'root').mkdir()
        (d / 'kernels').mkdir()
        copies = scratch(d / 'root', chosen)
        (d / 'root' / 'conftest.py').write_text(UNIX_SOCKETS.replace('FOLDER', str(d / 'kernels')))
        profile = d / 'ipython' / 'profile_default'
        profile.mkdir(parents=True)
        (profile / 'ipython_kernel_config.py').write_text('c.IPKernelApp.log_level = 40\n')
        env = dict(
            os.environ,
            IPYTHONDIR=str(d / 'ipython'),
            PYDEVD_DISABLE_FILE_VALIDATION='1',
            PYTHONWARNINGS='ignore::DeprecationWarning',
        )
        print(f'nbval: {len(copies)} notebooks', flush=True)
        cmd = [
            sys.executable,
            '-m',
            'pytest',
            '--nbval',
            '--nbval-current-env',
            '--nbval-cell-timeout=900',
            '--no-header',
        ]
        if len(copies) > 1:
            cmd += ['-n', '2', '--dist', 'loadscope']
        cmd += [
            '-q',
            '-p',
            'no:cacheprovider',
            '--durations=8',
            '--color=auto',
            '--rootdir',
            str(d / 'root'),
            *map(str, copies),
        ]
        return subprocess.run(cmd, cwd=d / 'root', env=env).returncode == 0


def run_nbdev_test() -> bool:
    "Run the library notebooks in plain Python processes; did each get to its end?"
    print('nbdev_test: library notebooks', flush=True)
    cmd = [str(BIN / 'nbdev_test'), '--skip_file_re', PHASES, '--n_workers', '2', '--do_print', '--timing']
    return subprocess.run(cmd, cwd=ROOT).returncode == 0


def main(args):
    keep = args[:1] == ['--store']
    given = [Path(a).resolve() for a in args[keep:]]
    chosen = given or notebooks()
    if missing := [p for p in chosen if not p.exists()]:
        sys.exit(f'there is no {missing[0]}')
    if keep:
        return store(chosen)
    t0, wrong = time.time(), []
    prepare()
    if not run_nbval(chosen):
        wrong.append(
            'A notebook puts out something else than what is stored in it, or fails: read the difference above. '
            'Where the new output is right, keep it: python tools/replay.py --store nbs/FOLDER/NAME.ipynb'
        )
    print(f'nbval: {time.time() - t0:.0f} s', flush=True)
    if not given:
        t0 = time.time()
        if not run_nbdev_test():
            wrong.append('A library notebook fails in a plain Python process: the traceback above names its cell.')
        print(f'nbdev_test: {time.time() - t0:.0f} s', flush=True)
    if wrong:
        sys.exit('\n' + '\n'.join(wrong))


if __name__ == '__main__':
    main(sys.argv[1:])
