"Imports go downwards: by the order of the folders, inside a folder by the number of the notebook."

import ast
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
RIVER = (
    'core workbench arena model traces evidence teachers data checks generation history pairs sets review training '
    'evaluation serving rental phases cli'
).split()


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


def reached_into(path):
    "`(line number, what)` of private names that a module takes from other rooms, by import or as an attribute."
    tree = ast.parse(path.read_text(encoding='utf-8'))
    rooms = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or not (node.level or (node.module or '').startswith('agentft')):
            continue
        if node.level == 0 and node.module == 'agentft':
            yield node.lineno, 'from agentft import: the package itself stands above every room'
        for name in node.names:
            if name.name.startswith('_'):
                yield node.lineno, f'import {name.name}'
            if isinstance(importable(path, node, name.name), Path):
                rooms.add(name.asname or name.name)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id in rooms and node.attr.startswith('_'):
                yield node.lineno, f'{node.value.id}.{node.attr}'


def importable(path, node, name):
    "The file of the module `name` that `node` imports, or None where it is a name within a module."
    base = path.parents[node.level - 1] if node.level else ROOT
    found = base.joinpath(*(node.module or '').split('.'), f'{name}.py') if node.module else base / f'{name}.py'
    return found if found.is_file() else None


def test_private_names_stay_in_their_room():
    wrong = [
        f'{path.relative_to(ROOT)}, line {n}: {what}'
        for path in sorted((ROOT / 'agentft').rglob('*.py'))
        if path.name not in ('__init__.py', '_modidx.py')
        for n, what in reached_into(path)
    ]
    assert not wrong, '\n'.join(wrong)


@pytest.mark.parametrize(
    'source',
    [
        'from .files import (\n    FileState,\n    _read,\n)',
        'from . import files\nfiles._read',
        'from agentft import collect',
        'def f():\n    from agentft.core import files as other\n    return other._read',
    ],
)
def test_a_private_name_is_found_however_it_is_taken(tmp_path, source):
    room = tmp_path / 'agentft' / 'core' / 'metrics.py'
    room.parent.mkdir(parents=True)
    (room.parent / 'files.py').write_text('')
    room.write_text(source)
    with pytest.MonkeyPatch.context() as m:
        m.setitem(globals(), 'ROOT', tmp_path)
        assert len(list(reached_into(room))) == 1


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
