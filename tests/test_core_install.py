"Phase 1 alone stays light: the core goes into an empty virtual environment without a language model, and collects there."

import json
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
HEAVY = 'torch transformers trl peft datasets accelerate anthropic'.split()


def run(*cmd, **kw):
    r = subprocess.run([str(c) for c in cmd], capture_output=True, text=True, timeout=900, **kw)
    assert r.returncode == 0, f'{cmd}\n{r.stdout[-2000:]}\n{r.stderr[-3000:]}'
    return r.stdout


def test_the_core_alone_collects(tmp_path):
    source, venv, out = tmp_path / 'source', tmp_path / 'venv', tmp_path / 'out'
    source.mkdir()
    for name in ('settings.ini', 'setup.py', 'pyproject.toml', 'README.md'):
        shutil.copy(ROOT / name, source / name)
    shutil.copytree(ROOT / 'agentft', source / 'agentft', ignore=shutil.ignore_patterns('__pycache__'))
    run(sys.executable, '-m', 'venv', venv)
    python, agentft = venv / 'bin' / 'python', venv / 'bin' / 'agentft'
    run(python, '-m', 'pip', 'install', '-q', '--disable-pip-version-check', source)
    installed = {p['name'].lower() for p in json.loads(run(python, '-m', 'pip', 'list', '--format', 'json'))}
    assert 'agentft' in installed and not installed & set(HEAVY), sorted(installed & set(HEAVY))

    call = dict(id='c1', type='function', function=dict(name='read_file', arguments='{"path": "a.md"}'))
    rows = [
        dict(
            id='job-1',
            messages=[
                dict(role='user', content='Read a.md'),
                dict(role='assistant', content=None, tool_calls=[call]),
                dict(role='tool', tool_call_id='c1', content='hello'),
                dict(role='assistant', content='It says hello.'),
            ],
        )
    ]
    (tmp_path / 'chat.jsonl').write_text('\n'.join(map(json.dumps, rows)))
    run(
        agentft,
        'collect',
        '--source',
        'none',
        '--sessions',
        tmp_path / 'chat.jsonl',
        '--out',
        out,
        cwd=tmp_path,
        env=dict(PATH='/usr/bin:/bin', HOME=str(tmp_path), AGENTFT_CACHE=str(tmp_path / 'cache')),
    )
    jobs = [json.loads(line) for line in (out / 'jobs.jsonl').read_text().splitlines()]
    assert [len(j['turns']) for j in jobs] == [2] and json.loads((out / 'result.json').read_text())['numbers'][
        'jobs'
    ] == 1
