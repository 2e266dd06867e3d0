"The arena across its rooms: families and their catalogue, any player, every fault, and tasks that stay what they are."

import ast
import json
from pathlib import Path

import pytest

import agentft
from agentft.arena.catalogue import EVAL_SEED, FAMILIES, make_task
from agentft.arena.faults import FAULTS, Faulty
from agentft.arena.players import Expert, play, say
from agentft.arena.sessions import Session
from agentft.arena.tasks import expert_files, prove, read_call, spoiled, tool_call
from agentft.core.agent import FULL, SHORT
from agentft.core.records import Job, content_hash, from_dict, to_dict

ARENA = Path(agentft.__file__).parent / 'arena'
DRAWN = dict(
    config='af6f94f228b9548b',
    rename='8587f37aea7c37bf',
    facts='5b05baaf108ce5df',
    compact='5fa151b9db912cba',
    table='28e1a56d6fd51ebb',
    notes='d8b27c0a12e62780',
    changelog='e785a05433782d8d',
)


def imported(path):
    "Names of the modules that a file imports."
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield '.' * node.level + node.module
        elif isinstance(node, ast.Import):
            yield from (a.name for a in node.names)


def test_every_family_in_the_folder_is_in_the_catalogue():
    "A family that was written and not registered would never be played."
    files = {p.stem for p in (ARENA / 'families').glob('*.py')} - {'__init__'}
    assert files == set(FAMILIES)
    first = ['config', 'rename', 'facts', 'compact', 'table', 'notes', 'changelog']
    assert list(FAMILIES)[:7] == first  # other rooms take them in this order
    assert [f for f in first if not FAMILIES[f].seen] == ['table', 'notes', 'changelog']
    assert all(f.about and f.behaviour for f in FAMILIES.values())


def test_families_know_neither_each_other_nor_the_catalogue():
    for path in (ARENA / 'families').glob('*.py'):
        for name in imported(path):
            ours = name.startswith(('.', 'agentft'))
            assert not ours or name in ('..tasks', 'agentft.arena.tasks'), (path.name, name)


def test_the_arena_knows_no_chat_templates():
    "Players stand above tokens: nothing below imports a model, a template or a tokenizer."
    for path in ARENA.rglob('*.py'):
        for name in imported(path):
            assert 'model' not in name.split('.') and name.split('.')[0] not in ('torch', 'transformers'), path.name


@pytest.mark.parametrize('family', list(FAMILIES))
def test_tasks_stay_what_they_are(family):
    "A draw more or less makes every number another job: recorded results, seeds and splits would mean something else."
    tasks = [to_dict(make_task(family, s)) for s in (*range(40), *range(EVAL_SEED, EVAL_SEED + 10))]
    assert content_hash(tasks) == DRAWN.get(family), (
        'a new family is pinned in DRAWN; a known one draws as it always did'
    )


@pytest.mark.parametrize('family', list(FAMILIES))
def test_the_checker_wants_what_the_expert_does(family):
    assert prove(FAMILIES[family], [*range(100, 120), *range(EVAL_SEED + 100, EVAL_SEED + 120)]) > 100


@pytest.mark.parametrize('family', list(FAMILIES))
def test_what_is_proven_without_a_player_holds_for_jobs(family):
    "The expert's job ends with the files of `expert_files`, and a spoiled result is no success in a session either."
    task = make_task(family, 5)
    job = play(task, Expert())
    assert job.files_after == expert_files(task) and job.outcome.status == 'success' and job.files_complete
    for what, files in spoiled(task, job.files_after).items():
        with Session(task) as s:
            for path in s.ws.files():
                s.ws.path(path).unlink()
            for path, text in files.items():
                s.ws.write_text(path, text)
            s.end = 'job_complete'
            assert s.job().outcome.status == 'failed', what


def test_whatever_has_the_three_members_can_play():
    class Reader:
        name = 'reader'

        def start(self, session):
            self.seen = []

        def __call__(self, session):
            self.seen.append([m.role for m in session.pending])
            assert session.messages[-1].role in ('tool', 'user')
            return say(read_call('CHANGELOG.md'), tool_call('todo_list'))

    player = Reader()
    job = play(make_task('changelog', 2), player)
    assert job.meta['player'] == 'reader' and job.id == 'changelog-2-reader' and job.outcome.status == 'failed'
    assert player.seen[0] == ['system', 'user'] and len(job.turns) == len(player.seen) == 40


@pytest.mark.parametrize('rules', [SHORT, FULL], ids=['short', 'full'])
def test_every_fault_differs_from_the_expert_and_is_named(rules):
    task = make_task('config', 3)
    right = [
        (t.said.content, [(c.name, c.arguments) for c in t.said.tool_calls]) for t in play(task, Expert(), rules).turns
    ]
    for name in FAULTS:
        job = play(task, Faulty(name), rules)
        said = [(t.said.content, [(c.name, c.arguments) for c in t.said.tool_calls]) for t in job.turns]
        assert said != right, name
        assert job.meta['player'] == f'faulty:{name}' == job.model
        assert from_dict(Job, json.loads(json.dumps(to_dict(job)))) == job


def test_a_call_never_leaves_the_workspace(tmp_path):
    "Links lead outside too: they are resolved before a path is judged."
    outside = tmp_path / 'secret.txt'
    outside.write_text('secret')
    with Session(make_task('config', 1)) as s:
        (s.ws.root / 'link').symlink_to(tmp_path)
        for path in ('link/secret.txt', str(outside), '../secret.txt', '.git/config'):
            for call in (
                read_call(path),
                tool_call('write_file', path=path, content='x'),
                tool_call('delete_file', path=path),
            ):
                text, ok = s.ws.run(call)
                assert not ok and text.startswith('Error: ') and str(s.ws.root) not in text, (path, call.name)
        assert 'link/secret.txt' not in s.ws.files()
    assert outside.read_text() == 'secret' and not s.ws.root.exists()
