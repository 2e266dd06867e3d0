"Imports go downwards: by the order of the folders, inside a folder by the number of the notebook."

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[1]
RIVER = 'core workbench arena model traces evidence data training evaluation serving rental phases cli'.split()


def modules():
    "Module name -> place in the river, read from the notebooks."
    found = {}
    for path in (ROOT / 'nbs').rglob('*.ipynb'):
        if not (exp := re.search(r'#\|\s*default_exp ([\w.]+)', path.read_text(encoding='utf-8'))):
            continue
        folder = exp[1].split('.')[0]
        assert folder in RIVER, (
            f'{path.relative_to(ROOT)} exports agentft.{exp[1]}, and {folder} is no folder of the river'
        )
        found[f'agentft.{exp[1]}'] = (RIVER.index(folder), path.relative_to(ROOT / 'nbs').as_posix())
    return found


def imports():
    "Every import of one room by another: `(importer, imported, line number, line)`."
    graph = grimp.build_graph('agentft', include_external_packages=False)
    for importer in sorted(graph.modules):
        for imported in sorted(graph.find_modules_directly_imported_by(importer)):
            for d in graph.get_import_details(importer=importer, imported=imported):
                yield importer, imported, d['line_number'], d['line_contents']


def place(module):
    return module.removeprefix('agentft.').replace('.', '/') + '.py'


def test_imports_go_downwards():
    at = modules()
    wrong = [
        f'agentft/{place(a)}, line {n}: {line.strip()}\n    {at[b][1]} stands after {at[a][1]}'
        for a, b, n, line in imports()
        if a in at and b in at and at[b] >= at[a]
    ]
    assert not wrong, 'imports that go upwards:\n' + '\n'.join(wrong)


def test_every_module_has_a_place():
    known = modules()
    rooms = {m for m in grimp.build_graph('agentft').modules if not (ROOT / m.replace('.', '/')).is_dir()}
    assert rooms - {'agentft._modidx'} <= set(known), sorted(rooms - set(known))


def test_nobody_reaches_into_another_room():
    private = [
        f'agentft/{place(a)}, line {n}: {line.strip()}'
        for a, b, n, line in imports()
        if re.search(r'\bimport\b.*\b_\w+', line)
    ]
    assert not private, 'private names of another room:\n' + '\n'.join(private)


def test_the_graph_of_folders_has_no_circle():
    arrows = {(a.split('.')[1], b.split('.')[1]) for a, b, _, _ in imports() if a.count('.') and b.count('.')}
    arrows = {(a, b) for a, b in arrows if a != b and a in RIVER and b in RIVER}
    assert all(RIVER.index(b) < RIVER.index(a) for a, b in arrows), arrows
    assert Counter(a for a, _ in arrows)['core'] == 0


def test_the_doors_are_found_in_the_package_itself():
    code = (
        'import sys, agentft; heavy = {"pandas", "torch", "transformers", "matplotlib", "pymongo"}; assert not heavy & set(sys.modules)\n'
        'from agentft import collect, synthesize, train, evaluate, run\n'
        'assert all(callable(f) for f in (collect, synthesize, train, evaluate, run)); print(agentft.collect.__name__)'
    )
    r = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT)
    assert r.returncode == 0 and r.stdout.strip() == 'collect', r.stderr
