"""Do the generated files agree with the notebooks?

    python tools/in_sync.py                   check, and change nothing (make test)
    python tools/in_sync.py --write-readme    README.md from nbs/index.ipynb (make export)
    python tools/in_sync.py --keep quickstart keep results and pages of runs/quickstart in runs/measured/, and its
                                              learning curve where `agentft curve runs/quickstart` made one
    python tools/in_sync.py --counts mine "an audit trail of 8 jobs and a repository of 500 commits"
                                              keep the counts of runs/mine, which read somebody else's history: no text

The check exports and cleans a scratch copy and compares it with the checkout, so it never touches work in progress.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent


def readme(nb) -> str:
    "Markdown of a notebook: its prose and outputs; a cell's code is shown unless it says `#| echo: false`."
    out = ['<!-- Written from nbs/index.ipynb by `make export`: edit the notebook. -->']
    for c in json.loads(Path(nb).read_text(encoding='utf-8'))['cells']:
        src = ''.join(c['source'])
        if c['cell_type'] == 'markdown':
            out.append(src)
        if c['cell_type'] != 'code' or re.search(r'^#\| *hide\b', src, flags=re.M):
            continue
        if not re.search(r'^#\| *echo: *false', src, flags=re.M):
            out.append(f'```python\n{src}\n```')
        for o in c['outputs']:
            d = o.get('data', {})
            if 'text/markdown' in d:
                out.append(''.join(d['text/markdown']))
            elif o.get('text') or 'text/plain' in d:
                out.append('```\n' + ''.join(o.get('text') or d['text/plain']).rstrip() + '\n```')
    text = '\n\n'.join(x.strip() for x in out if x.strip()) + '\n'
    return re.sub(r'\]\((?!https?:|#|\.\./)([^)\s]+)\)', r'](nbs/\1)', text).replace('](../', '](')


def check() -> list:
    "What differs, one sentence each."
    with tempfile.TemporaryDirectory(prefix='agentft-sync-') as d:
        d = Path(d)
        for name in ('settings.ini', 'setup.py', 'pyproject.toml'):
            if (ROOT / name).exists():
                shutil.copy2(ROOT / name, d / name)
        skip = shutil.ignore_patterns('__pycache__', '.ipynb_checkpoints')
        shutil.copytree(ROOT / 'nbs', d / 'nbs', ignore=skip)
        shutil.copytree(ROOT / 'agentft', d / 'agentft', ignore=skip)
        for tool in ('nbdev_export', 'nbdev_clean'):
            r = subprocess.run(
                [str(BIN / tool)], cwd=d, capture_output=True, text=True, env={**os.environ, 'PYTHONPATH': str(d)}
            )
            if r.returncode:
                return [f'{tool} failed:\n{r.stderr[-2000:]}']
        bad = []
        for folder, what, end in (
            ('agentft', 'is not what its notebook exports', '.py'),
            ('nbs', 'is not clean', '.ipynb'),
        ):
            names = {
                p.relative_to(b).as_posix()
                for b in (d / folder, ROOT / folder)
                for p in b.rglob(f'*{end}')
                if '.ipynb_checkpoints' not in p.parts
            }
            for n in sorted(names):
                a, b = d / folder / n, ROOT / folder / n
                if not b.exists():
                    bad.append(f'{folder}/{n} is missing: its notebook exports it')
                elif a.read_bytes() != b.read_bytes():
                    bad.append(f'{folder}/{n} {what}')
        sources = ''.join(p.read_text(encoding='utf-8') for p in (ROOT / 'nbs').rglob('*.ipynb'))
        known = {m.replace('.', '/') + '.py' for m in re.findall(r'#\|\s*default_exp ([\w.]+)', sources)}
        here = sorted(p.relative_to(ROOT / 'agentft').as_posix() for p in (ROOT / 'agentft').rglob('*.py'))
        bad += [
            f'agentft/{n} has no notebook'
            for n in here
            if n not in known | {'_modidx.py'} and not n.endswith('__init__.py')
        ]
        index = ROOT / 'nbs' / 'index.ipynb'
        if index.exists() and (
            not (ROOT / 'README.md').exists() or (ROOT / 'README.md').read_text(encoding='utf-8') != readme(index)
        ):
            bad.append('README.md is not what nbs/index.ipynb says')
        return bad + broken_links()


def broken_links() -> list:
    "Links and names of notebooks in the prose of notebooks that lead nowhere, one sentence each."
    bad = []
    for path in sorted((ROOT / 'nbs').rglob('*.ipynb')):
        if '.ipynb_checkpoints' in path.parts:
            continue
        cells = json.loads(path.read_text(encoding='utf-8'))['cells']
        prose = '\n'.join(''.join(c['source']) for c in cells if c['cell_type'] == 'markdown')
        links = [(x, path.parent / x) for x in re.findall(r'\]\((?!https?:)([^)#\s]+)\)', prose)]
        names = [(x, ROOT / x) for x in re.findall(r'`((?:nbs|bench|tests|tools)/[\w/.-]+\.(?:ipynb|py))`', prose)]
        lost = [x for x, there in links + names if not there.exists()]
        bad += [f'{path.relative_to(ROOT)} leads to {x}, which is not there' for x in lost]
    return bad


def _places(name) -> tuple:
    "The folder of runs/`name`, which has to be finished, and an emptied one in runs/measured/ with a folder per phase."
    from agentft.workbench.runs import PHASES, phase_dir, read_result

    src, dst = ROOT / 'runs' / name, ROOT / 'runs' / 'measured' / name
    for p in PHASES:
        read_result(phase_dir(src, p))
    shutil.rmtree(dst, ignore_errors=True)
    for p in PHASES:
        phase_dir(dst, p).mkdir(parents=True)
    return src, dst


def _say_kept(dst):
    print(f'kept in {dst.relative_to(ROOT)}: now run nbs/index.ipynb, then make export')


def keep(name):
    "Copy results and pages of a finished run to runs/measured/."
    from agentft.workbench.reports import report
    from agentft.workbench.runs import PHASES, cache_dir, phase_dir

    src, dst = _places(name)
    for p in PHASES:
        for f in ('result.json', 'phase.json', 'report.html'):
            shutil.copy2(phase_dir(src, p) / f, phase_dir(dst, p) / f)
    shutil.copy2(src / 'recipe.json', dst / 'recipe.json')
    if (curve := src / 'curve' / 'learning_curve.json').exists():
        (dst / 'curve').mkdir(exist_ok=True)
        shutil.copy2(curve, dst / 'curve' / curve.name)
        shutil.copy2(curve.parent / 'figures' / 'learning-curve.png', ROOT / 'nbs' / 'images' / 'learning-curve.png')
    for f in [x for x in dst.rglob('*') if x.is_file()]:  # where it was run is nobody's business
        text = f.read_text(encoding='utf-8')
        for folder, short in ((str(ROOT) + '/', ''), (str(cache_dir()), '~/.cache/agentft')):
            text = text.replace(folder, short)
        f.write_text(text, encoding='utf-8')
    report(dst)
    _say_kept(dst)


COUNTS = dict(  # of `result.json`: numbers by phase that hold nothing of what was read
    collect=['jobs', 'turns', 'calls', 'outcomes', 'failures', 'jobs_with_failures', 'by_mode', 'edits', 'redacted'],
    synthesize=['examples', 'tokens', 'by_origin', 'by_phase', 'flows', 'turns', 'turns_by_reason', 'references'],
    train=['tokens', 'steps'],
    evaluate=['replay'],
)


def counts(name, about):
    "Keep what runs/`name` counted of a history that is not the project's own, and no line of that history."
    from agentft.workbench.runs import PHASES, phase_dir, read_result

    src, dst = _places(name)
    for p in PHASES:
        r, to = read_result(phase_dir(src, p)), phase_dir(dst, p)
        kept = {k: r[k] for k in ('v', 'phase', 'verdict', 'summary', 'seconds', 'provenance')}
        kept['numbers'] = {k: r['numbers'][k] for k in COUNTS[p] if k in r['numbers']}
        kept['numbers'].get('replay', {}).pop('compare', None)
        (to / 'result.json').write_text(json.dumps(kept, indent=1, ensure_ascii=False) + '\n', encoding='utf-8')
        stamp = json.loads((phase_dir(src, p) / 'phase.json').read_text(encoding='utf-8'))
        stamp = {k: stamp[k] for k in ('state', 'seconds', 'peak_memory_gb')}
        (to / 'phase.json').write_text(json.dumps(stamp, indent=1) + '\n', encoding='utf-8')
    (dst / 'about.json').write_text(json.dumps(dict(about=about), indent=1) + '\n', encoding='utf-8')
    _say_kept(dst)


def main(args):
    if args[:1] == ['--write-readme']:
        from agentft.core.records import write_atomic

        write_atomic(ROOT / 'README.md', readme(ROOT / 'nbs' / 'index.ipynb'))
    elif args[:1] == ['--keep']:
        keep(args[1])
    elif args[:1] == ['--counts']:
        counts(args[1], args[2])
    elif bad := check():
        sys.exit('\n'.join([*bad, '\nThe notebooks are the source: make export writes the rest from them.']))
    else:
        print('in sync: agentft/, README.md and clean notebooks')


if __name__ == '__main__':
    main(sys.argv[1:])
