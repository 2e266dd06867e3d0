"The runner and the command line: faults, interruption, resuming, reports that open offline."

import base64
import html
import inspect
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup

from agentft.workbench.recipes import check_parameters, notebook_of, notebook_parameters, project, read_recipe
from agentft.workbench.reports import loads, page
from agentft.workbench.runs import PHASES, phase_dir, read_result

CLI = [sys.executable, '-c', 'import sys; from agentft.cli import main; sys.exit(main())']
COLLECT = '''from agentft.workbench.runs import write_result
from agentft.core.records import write_atomic
from pathlib import Path
write_atomic(Path(out)/'jobs.jsonl', '{}\\n'*jobs)
write_result(out, 'collect', dict(jobs=jobs), parameters=dict(jobs=jobs), verdict=f'{jobs} jobs')'''
SYNTHESIZE = '''from agentft.workbench.runs import artifact, write_result
n = len(artifact(out, 'collect', 'jobs.jsonl').read_text().splitlines())
write_result(out, 'synthesize', dict(examples=n*factor), parameters=dict(factor=factor), summary=[dict(what='examples', n=n*factor)], verdict=f'{n*factor} examples')'''


def notebook(folder, phase, parameters, *cells):
    nb = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_markdown_cell(f'# {phase}, for a test'),
            nbformat.v4.new_code_cell(parameters, metadata=dict(tags=['parameters'])),
            *map(nbformat.v4.new_code_cell, cells),
        ]
    )
    nb.metadata.kernelspec = dict(name='python3', display_name='python3', language='python')
    folder.mkdir(exist_ok=True)
    nbformat.write(nb, folder / f'{PHASES[phase]}_{phase}.ipynb')


@pytest.fixture
def place(tmp_path):
    "Two small phases and a recipe for them."
    notebook(tmp_path / 'nbs', 'collect', "out: str = ''\njobs: int = 2  # how many", COLLECT)
    notebook(tmp_path / 'nbs', 'synthesize', "out: str = ''\nfactor: int = 2  # times", SYNTHESIZE)
    (tmp_path / 'tiny.yaml').write_text('phases: {collect: {jobs: 3}, synthesize: {}}')
    return tmp_path


def agentft(place, *args, **kw):
    return subprocess.run(
        [*CLI, 'run', 'tiny.yaml', '--nbs', 'nbs', *args], cwd=place, capture_output=True, text=True, timeout=300, **kw
    )


def folder(place, phase):
    return phase_dir(place / 'runs/tiny', phase)


def state(place, phase):
    return json.loads((folder(place, phase) / 'phase.json').read_text())['state']


def leftovers(place):
    return [p.name for p in (place / 'runs').rglob('*') if p.name.endswith('.part') or 'running' in p.name]


def mtimes(place):
    return [(folder(place, p) / 'result.json').stat().st_mtime_ns for p in ('collect', 'synthesize')]


def test_run_and_resume(place):
    r = agentft(place)
    assert r.returncode == 0, r.stderr
    assert '1 collect' in r.stderr and '6 examples' in r.stderr and 'index.html' in r.stderr
    assert read_result(folder(place, 'synthesize'))['numbers'] == dict(examples=6)
    assert not leftovers(place)
    first = mtimes(place)
    r = agentft(place)
    assert r.returncode == 0 and r.stderr.count('nothing changed') == 2 and mtimes(place) == first
    agentft(place, '-p', 'factor', '5')
    assert mtimes(place)[0] == first[0] and mtimes(place)[1] > first[1]
    r = agentft(place, '-p', 'factor', '5', '-p', 'collect.jobs', '4')  # upstream changed: both again
    assert read_result(folder(place, 'synthesize'))['numbers'] == dict(examples=20) and 'jobs 3 → 4' in r.stderr
    before = mtimes(place)
    agentft(place, '-p', 'factor', '5', '-p', 'collect.jobs', '4', '--from', 'synthesize')
    assert mtimes(place)[0] == before[0] and mtimes(place)[1] > before[1]
    notebook(place / 'nbs', 'synthesize', "out: str = ''\nfactor: int = 2  # times", '1 + 1', SYNTHESIZE)
    assert 'its notebook changed' in agentft(place, '-p', 'factor', '5', '-p', 'jobs', '4').stderr


def test_copied_to_another_place(place, tmp_path_factory):
    agentft(place)
    there = tmp_path_factory.mktemp('there') / 'moved'
    shutil.move(place, there)
    r = agentft(there)
    assert r.stderr.count('nothing changed') == 2, r.stderr


@pytest.mark.parametrize(
    'text,args,says',
    [
        ('phases: {collect: {jobz: 3}}', [], "did you mean 'jobs'?"),
        ('phases: {colect: {}}', [], "did you mean 'collect'?"),
        ('phase: {collect: {}}', [], "did you mean 'phases'?"),
        ('phases: {collect: {jobs: three}}', [], "collect.jobs is 'three', which is no int"),
        ('phases: {collect: {out: x}}', [], '--name'),
        ('phases: {train: {}}', [], '3_train.ipynb is missing'),
        ('phases: {collect: {}}', ['-p', 'synthesize.factor', '2'], "unknown phase 'synthesize'"),
        ('phases: [', [], 'is no YAML'),
        ('', [], 'expected keys'),
    ],
)
def test_bad_recipe_runs_nothing(place, text, args, says):
    (place / 'tiny.yaml').write_text(text)
    r = agentft(place, *args)
    assert r.returncode == 1 and says in r.stderr and 'Traceback' not in r.stderr
    assert not list((place / 'runs').glob('*/*-*'))


def test_missing_predecessor(place):
    r = agentft(place, '--from', 'synthesize')
    assert r.returncode == 1 and 'collect has not finished' in r.stderr and '--from collect' in r.stderr
    notebook(
        place / 'nbs',
        'collect',
        "out: str = ''\njobs: int = 2",
        "from agentft.workbench.runs import write_result\nwrite_result(out, 'collect', {})",
    )
    r = agentft(place)
    assert r.returncode == 1 and 'jobs.jsonl is needed, but collect left no jobs.jsonl' in r.stderr


def test_failing_cell(place):
    agentft(place)
    notebook(
        place / 'nbs',
        'collect',
        "out: str = ''\njobs: int = 2",
        'print("as far as here")',
        'raise ConnectionError("no MongoDB at localhost:1")',
        COLLECT,
    )
    r = agentft(place)
    assert r.returncode == 1
    assert (
        'collect failed: ConnectionError: no MongoDB at localhost:1' in r.stderr
        and 'collect.failed.ipynb' in r.stderr
        and 'same command' in r.stderr
    )
    assert not (folder(place, 'collect') / 'result.json').exists()  # the old success does not stand for it
    assert 'as far as here' in (folder(place, 'collect') / 'report.html').read_text()
    assert 'no MongoDB' in (place / 'runs/tiny/index.html').read_text()
    assert state(place, 'collect') == 'failed' and not leftovers(place)


def test_dead_kernel(place):
    notebook(place / 'nbs', 'synthesize', "out: str = ''\nfactor: int = 2", 'import os; os._exit(9)', SYNTHESIZE)
    r = agentft(place)
    assert r.returncode == 1 and 'synthesize failed: the kernel died' in r.stderr and 'memory' in r.stderr
    assert state(place, 'synthesize') == 'failed' and not leftovers(place)


def test_ends_without_result(place):
    notebook(place / 'nbs', 'synthesize', "out: str = ''\nfactor: int = 2", 'import sys; sys.exit(0)', SYNTHESIZE)
    r = agentft(place)
    assert r.returncode == 1 and 'without' in r.stderr and 'result.json' in r.stderr


def test_full_disk(place):
    notebook(
        place / 'nbs',
        'collect',
        "out: str = ''\njobs: int = 2",
        'import errno; raise OSError(errno.ENOSPC, "No space left on device")',
        COLLECT,
    )
    r = agentft(place)
    assert r.returncode == 1 and 'The disk is full: make room' in r.stderr


def _alive(pid):
    try:
        return Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[0] != 'Z'
    except OSError:
        return False


def _until(f, timeout=240):
    t = time.time()
    while not f():
        assert time.time() - t < timeout
        time.sleep(0.1)


SLOW = '''import os, time
from agentft.core.records import write_atomic
open(os.path.join(out, 'pid'), 'w').write(str(os.getpid()))
def pieces():
    for i in range(600): time.sleep(0.1); yield f'{i}\\n'
write_atomic(os.path.join(out, 'big.txt'), pieces())'''


def _listen():
    "In the child: hear Ctrl-C also where the tests run in the background, which makes every child ignore it."
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize('sig,code', [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -9)])
def test_stopped_and_resumed(place, sig, code):
    notebook(place / 'nbs', 'synthesize', "out: str = ''\nfactor: int = 2", SLOW, SYNTHESIZE)
    p = subprocess.Popen(
        [*CLI, 'run', 'tiny.yaml', '--nbs', 'nbs'],
        cwd=place,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=_listen,
    )
    pid = folder(place, 'synthesize') / 'pid'
    _until(lambda: p.poll() is not None or pid.exists() and pid.read_text())
    kernel = int(pid.read_text())
    time.sleep(0.5)
    p.send_signal(sig)
    _, err = p.communicate(timeout=240)
    assert p.returncode == code, err
    _until(lambda: not _alive(kernel))
    assert (
        not (folder(place, 'synthesize') / 'result.json').exists()
        and not (folder(place, 'synthesize') / 'big.txt').exists()
    )
    if code == 130:
        assert 'synthesize was interrupted; the same command goes on with synthesize' in err and 'Traceback' not in err
        assert state(place, 'synthesize') == 'interrupted' and not leftovers(place)
    collected = (folder(place, 'collect') / 'result.json').stat().st_mtime_ns
    notebook(place / 'nbs', 'synthesize', "out: str = ''\nfactor: int = 2", SYNTHESIZE)
    r = agentft(place)
    assert r.returncode == 0, r.stderr
    assert (folder(place, 'collect') / 'result.json').stat().st_mtime_ns == collected
    assert read_result(folder(place, 'synthesize'))['numbers'] == dict(examples=6)


def test_one_run_per_folder(place):
    fcntl = pytest.importorskip('fcntl')
    (place / 'runs/tiny').mkdir(parents=True)
    with open(place / 'runs/tiny/.lock', 'w') as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        r = agentft(place)
    assert r.returncode == 1 and 'another run' in r.stderr


HOSTILE = '''from IPython.display import display, HTML, Markdown, Javascript, SVG
import matplotlib.pyplot as plt, pandas as pd
display(HTML('<script>document.title="owned"</script><img src="https://example.com/x.png" onerror="document.title=1"><link rel=stylesheet href=https://example.com/a.css>'))
display(Markdown('**md** <iframe src="https://example.com"></iframe> ![x](https://example.com/y.png)\\n\\n| a | b |\\n|--:|:--|\\n| 1 | 2 |'))
display(Javascript('document.title="owned"')); display(SVG('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9" onload="alert(1)"><script>alert(1)</script></svg>'))
display(pd.DataFrame(dict(a=[1], b=['<script>x</script>']))); fig, ax = plt.subplots(); ax.plot([1, 2])
print('<script>document.title="owned"</script>')'''


def test_reports_need_nothing(place):
    notebook(place / 'nbs', 'synthesize', "out: str = ''\nfactor: int = 2", HOSTILE, SYNTHESIZE)
    assert agentft(place).returncode == 0
    pages = sorted((place / 'runs/tiny').rglob('*.html'))
    assert len(pages) == 3
    for p in pages:
        assert loads(p.read_text()) == [], p
        assert all(alternatives(p.read_text())), p
    h = (folder(place, 'synthesize') / 'report.html').read_text()
    assert 'data:image/png;base64' in h and '<table' in h and h.count('<script') == 0
    index = (place / 'runs/tiny/index.html').read_text()
    links = [x for p in pages for x in re.findall(r'href="([^"#]+)"', p.read_text()) if not x.startswith('http')]
    assert '6 examples' in index and all(any((q.parent / x).exists() for q in pages) for x in links), links
    r = subprocess.run([*CLI, 'report', 'runs/tiny'], cwd=place, capture_output=True, text=True)
    assert r.returncode == 0 and r.stdout.strip() == 'runs/tiny/index.html'


def alternatives(text):
    "The alternative text of every picture of a page."
    return [x.get('alt', '').strip() for x in BeautifulSoup(text, 'html.parser').find_all('img')]


BY_HAND = dict(
    collect=['--jobs_per_family', '1'],
    synthesize=['--collect_dir', 'none', '--n_examples', '6'],
    evaluate='--train_dir none --suites seen --jobs_per_suite 2 --max_turns 3 --max_new_tokens 4'.split(),
)


@pytest.mark.parametrize('phase', BY_HAND)
def test_a_phase_by_hand_writes_its_page(tmp_path, phase):
    out = phase_dir(tmp_path, phase)
    r = subprocess.run(
        [*CLI, phase, '--out', str(out), *BY_HAND[phase]],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, 'AGENTFT_PAGES': '1', 'AGENTFT_CACHE': str(tmp_path / 'cache')},
    )
    assert r.returncode == 0 and r.stdout.splitlines()[-1] == str(out / 'report.html'), r.stderr
    shown, result = (out / 'report.html').read_text(), read_result(out)
    assert loads(shown) == [] and '<em>running</em>' not in shown and '%|' not in shown
    top = shown[: shown.index('<h2')]
    assert html.escape(result['verdict'], quote=False) in top and '<table' in top and '<img' not in top
    assert shown.count('data:image/png;base64') >= 1 and shown.index('Files</h2>') > shown.rindex('<img')
    subprocess.run([*CLI, 'report', str(tmp_path)], check=True, capture_output=True)
    index = (tmp_path / 'index.html').read_text()
    assert html.escape(result['verdict'], quote=False) in index
    figures = {p.stem for p in (out / 'figures').iterdir()}
    for said in (alternatives(shown), alternatives(index)):  # a sentence each, on the report and on the index
        assert said and all(len(x.split()) > 4 for x in said) and not figures & set(said), said
        assert not any(x.startswith('No description') for x in said), said  # nbconvert's words where there are none


BROWSER = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)


@pytest.mark.skipif(not BROWSER, reason='no Chromium here (apt-get install chromium)')
def test_reports_in_a_browser(place):
    notebook(place / 'nbs', 'synthesize', "out: str = ''\nfactor: int = 2", HOSTILE, SYNTHESIZE)
    agentft(place)
    for p in (place / 'runs/tiny').rglob('*.html'):
        r = subprocess.run(
            [
                BROWSER,
                '--headless',
                '--no-sandbox',
                '--disable-gpu',
                f'--user-data-dir={place}/profile',
                '--dump-dom',
                p.as_uri(),
            ],
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert '<main>' in r.stdout and '<title>owned' not in r.stdout and '<title>1' not in r.stdout


FRAME = '''<iframe id="phone" style="width: 420px; height: 900px; border: 0" srcdoc="{}"></iframe><script>
onload = () => {{
  const page = document.getElementById("phone").contentDocument, tops = [...page.querySelectorAll("img")].map(x => x.offsetTop)
  document.title = [page.documentElement.scrollWidth, ...tops].join(" ")
}}</script>'''


@pytest.mark.skipif(not BROWSER, reason='no Chromium here (apt-get install chromium)')
@pytest.mark.parametrize('width', [420, 1200])
def test_a_page_fits_its_width(tmp_path, width):
    "Ten columns do not make the page scroll sideways; panels stand side by side where there is room, else in a column."
    names = [f'column number {n}' for n in range(10)]
    head = ''.join(f'<th>{x}</th>' for x in names)
    cells = ''.join(f'<td>{x} of the first row</td>' for x in names)
    table = f'<table><thead><tr>{head}</tr></thead><tbody><tr>{cells}</tr></tbody></table>'
    picture = '<svg xmlns="http://www.w3.org/2000/svg" width="550" height="300"/>'
    source = 'data:image/svg+xml;base64,' + base64.b64encode(picture.encode()).decode()
    panels = f'<div class="figures">{f"<img alt=panel src={source!r}>" * 2}</div>'
    frame = FRAME.replace('420px', f'{width}px').format(html.escape(page('wide', table + panels)))
    (tmp_path / 'frame.html').write_text(frame)
    profile = f'--user-data-dir={tmp_path}/profile'
    command = [BROWSER, '--headless', '--no-sandbox', '--disable-gpu', profile, '--window-size=1400,1000', '--dump-dom']
    uri = (tmp_path / 'frame.html').as_uri()
    r = subprocess.run([*command, uri], capture_output=True, text=True, timeout=240)
    scrolls, *tops = map(int, re.search('<title>([0-9 ]+)</title>', r.stdout)[1].split())
    assert scrolls <= width and (tops[0] == tops[1]) == (width == 1200), (scrolls, tops)


def test_start_is_light():
    "What takes time at the start is importing: the package and its help load next to nothing."

    def modules(code):
        count = 'import sys; print(len(sys.modules), file=sys.stderr)'
        r = subprocess.run([sys.executable, '-c', f'{code}\n{count}'], check=True, capture_output=True, text=True)
        return int(r.stderr)

    bare = modules('pass')
    assert modules('import agentft') < bare + 10
    assert modules('from agentft.cli import main\ntry: main(["--help"])\nexcept SystemExit: pass') < bare + 60
    heavy = 'torch transformers pandas numpy matplotlib papermill pymongo anthropic trl peft nbconvert'.split()
    files = sorted((project() / 'agentft').rglob('[a-z]*.py'))
    for module in ('.'.join(p.relative_to(project() / 'agentft').with_suffix('').parts) for p in files):
        loaded = subprocess.run(
            [sys.executable, '-c', f'import sys, agentft.{module}; print(*[m for m in {heavy} if m in sys.modules])'],
            capture_output=True,
            text=True,
        )
        assert loaded.returncode == 0 and loaded.stdout.strip() == '', (
            f'agentft.{module} imports {loaded.stdout or loaded.stderr}'
        )


@pytest.mark.parametrize('phase', PHASES)
def test_notebook_and_function_share_parameters(phase):
    f = getattr(import_module(f'agentft.phases.{phase}'), phase)
    signature = {k: v.default for k, v in inspect.signature(getattr(f, '__wrapped__', f)).parameters.items()}
    cell = notebook_parameters(notebook_of(phase))
    assert set(signature) == set(cell)
    for k, (_, default, text) in cell.items():
        assert text, f'{phase}.{k} says nothing about itself'
        if k != 'out':
            assert signature[k] == default, (
                f'{phase}.{k}: {signature[k]!r} in the function, {default!r} in the notebook'
            )
    r = subprocess.run([*CLI, phase, '--help'], capture_output=True, text=True)
    assert r.returncode == 0 and all(f'--{k}' in r.stdout or f' {k}' in r.stdout for k in cell)


@pytest.mark.parametrize('recipe', sorted((project() / 'recipes').glob('*.yaml')), ids=lambda p: p.stem)
def test_recipes_fit_the_notebooks(recipe):
    r = read_recipe(recipe)
    assert r['description'] and check_parameters(r)
    assert r['name'] == recipe.stem
