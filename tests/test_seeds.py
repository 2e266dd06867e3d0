"Seeds: a folder that people write, the check that they run, and the way from a collected turn to a new seed."

import json
import os
import random
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from agentft.arena.catalogue import EVAL_SEED, FAMILIES, make_task
from agentft.arena.faults import FAULTS, Faulty
from agentft.arena.players import FLOORS, Expert, expert_script, play
from agentft.arena.proof import LEAST, proof_line, proof_rows
from agentft.arena.sessions import Session
from agentft.checks.gate import Gate, Reserved
from agentft.cli import main
from agentft.core.records import Example, Job, Message, ToolCall, from_dict, to_dict, write_jsonl
from agentft.data.expansion import answer_example
from agentft.data.seeds import (
    BEHAVIOURS,
    LOOKS,
    NO_ACTION,
    Seed,
    Step,
    check_folder,
    check_seed,
    held_kind,
    read_seeds,
    seed_task,
)
from agentft.data.turn_seeds import add_seed, show_turn, turn_seed
from agentft.data.variations import Made, vary_seed
from agentft.evidence.failures import detect
from agentft.teachers.questions import Answer
from agentft.traces.audit import from_documents
from agentft.traces.audit_writer import to_documents
from agentft.traces.wanted_jobs import read_jobs

SEEDS = Path(__file__).resolve().parent.parent / 'seeds'
HELD_ANSWERS = Path(__file__).resolve().parent / 'data' / 'held_answers.json'
AUDIT = Path(os.environ.get('AGENTFT_AUDIT') or Path(__file__).resolve().parents[2] / 'shared' / 'audit')
recorded = pytest.mark.skipif(
    not (AUDIT / 'dump').is_dir(), reason=f'no recorded audit documents at {AUDIT} (set AGENTFT_AUDIT)'
)


@pytest.fixture(scope='module')
def shipped():
    return check_folder(SEEDS)


def trained(shipped) -> list:
    "Seeds of the kinds that are not kept for the evaluation."
    return [s for s in shipped.seeds if not held_kind(s)]


def refused(seeds: dict, answers: dict) -> dict:
    "What the checkers say against the answers of a reader; id -> problems."
    out = {}
    for id, changed in answers.items():
        task = seed_task(seeds[id])
        files = {path: text for path, text in (task.files | changed).items() if text is not None}
        if problems := task.problems(files):
            out[id] = problems
    return out


def test_held_out_jobs_pass_what_a_reader_writes_who_saw_no_solution(shipped):
    "An instruction names what its checker asks for: the files were written from the instructions and files alone."
    seeds = {s.id: s for s in shipped.seeds if held_kind(s) and not s.no_action()}
    answers = json.loads(HELD_ANSWERS.read_text(encoding='utf-8'))
    assert set(answers) == set(seeds)
    wrong = refused(seeds, answers)
    assert len(wrong) <= (1 - LEAST) * len(answers), wrong


SPELLED = [s for s in read_seeds(SEEDS) if s.steps]
KINDS = sorted({s.family for s in SPELLED})


@pytest.mark.parametrize('kind', KINDS)
def test_checkers_of_a_kind_of_seeds_catch_mutants_and_pass_rewritings(kind):
    "As those of families do, each kind for itself: pooled, a weak one would hide behind the others."
    own = [seed_task(s) for s in SPELLED if s.family == kind]
    (row,) = proof_rows(own, most=0)
    print(kind, proof_line([row]))
    assert row['jobs'] == len(own) and row['mutants'] >= 10 * len(own), row
    assert row['expert_refused'] == 0 and row['holds'], row
    assert row['caught'] >= LEAST * row['mutants'] and row['passed'] >= LEAST * row['rewritings'], row


def test_a_weak_kind_of_seeds_does_not_hide():
    "One kind in which values are not looked at fails by itself, though all seeds together would pass."
    weak = [seed_task(s) for s in SPELLED if s.family == 'lists']
    for t in weak:
        t.problems = lambda files, t=t: [] if set(files) >= {p for i in t.items for p in i.want} else ['missing']
    others = [seed_task(s) for s in SPELLED if s.family in ('vault', 'memory', 'code')]
    rows = {row['family']: row for row in proof_rows(weak + others, most=4)}
    assert [kind for kind, row in rows.items() if not row['holds']] == ['lists']


def test_texts_of_held_out_jobs_keep_their_paragraphs_and_records(shipped):
    seeds = {s.id: s for s in shipped.seeds}
    answers = json.loads(HELD_ANSWERS.read_text(encoding='utf-8'))
    for id in ('edit-subtitle-cue', 'todo-german-strings', 'edit-invoice-three-figures', 'todo-newsletter'):
        ((path, text),) = answers[id].items()
        joined = {id: {path: text.replace('\n\n', '\n')}}
        apart = {id: {path: text.replace('\n\n', '\n \n\n') + '\n\n'}}
        assert refused(seeds, joined) and not refused(seeds, apart), id


def test_every_shipped_seed_passes_and_there_are_enough(shipped):
    assert shipped.bad == []
    assert [r['behaviour'] for r in shipped.rows] == list(BEHAVIOURS)
    for r in shipped.rows:
        assert r['seeds'] >= 50 and r['no action'] >= 8, r
    assert shipped.warnings == []
    assert all(s.author and s.note for s in shipped.seeds)


def test_shipped_seeds_keep_clear_of_the_evaluation(shipped):
    held = {f for f in FAMILIES if not FAMILIES[f].seen}
    reserved = Reserved()
    for s in trained(shipped):
        assert not held & set(s.families()) and all(n < EVAL_SEED for _, n in s.arena_seeds()), s.id
        assert not reserved.check(s.family, [n for _, n in s.arena_seeds()], seed_task(s)), s.id


def test_shipped_seeds_make_examples_that_phase_2_accepts(shipped):
    "A seed that the arena can play but the rules of phase 2 turn away would never teach anything."
    gate = Gate(Reserved())
    refused = []
    for s in trained(shipped):
        e = answer_example(Answer('k', 'expert', value=to_dict(Made(s, expert_script(seed_task(s))))), s.behaviour)
        assert isinstance(e, Example), (s.id, e)
        if no := gate(e):
            refused.append((s.id, no.reason, no.detail))
    assert refused == []


def test_a_job_without_action_fails_as_soon_as_anything_is_changed(shipped):
    still = [s for s in shipped.seeds if s.no_action()]
    assert {s.no_action() for s in still} == set(NO_ACTION)
    for s in still:
        t = seed_task(s)
        assert t.success(t.files) and t.deliverables == [] and s.summary, s.id
        assert not t.success(t.files | {'invented.md': 'something\n'}), s.id
        for p, text in t.files.items():
            assert not t.success(t.files | {p: text + 'more\n'}), (s.id, p)
            assert not t.success({q: x for q, x in t.files.items() if q != p}), (s.id, p)


def test_jobs_without_action_ask_for_what_their_files_tell(shipped):
    "Else a constant report, or one made of the instruction, would win them; swapped words keep question and answer true."
    for seed in (s for s in shipped.seeds if s.no_action()):
        for k in range(2):
            s = vary_seed(seed, random.Random(k), seed.id, reword=0) if k else seed
            task, answer = seed_task(s), s.found[1]
            parts = answer if isinstance(answer, list) else [answer]
            assert not all(part.casefold() in task.instruction.casefold() for part in parts), (s.id, answer)
            there = "\n".join([*task.files, *task.files.values()]).casefold()
            assert all(p.casefold() in there for p in parts if not p.isdigit()) or s.id == 'phase-question-only', s.id
            assert play(task, Expert()).outcome.status == 'success', s.id


def test_lies_about_jobs_without_action_fail(shipped):
    for seed in (s for s in shipped.seeds if s.no_action()):
        task = seed_task(seed)
        path, answer = next(iter(task.files)), task.report.lines['found']
        said = task.summary.rsplit(': ', 1)[1]
        for lie in (
            seed.summary,
            f'I have set {said} as you wished.',
            task.summary.replace('nothing', path, 1),
            f'{task.summary}\nI have changed {path} for you.',
            f'{task.summary}\n{task.files[path]}',
            'changed: nothing\nreason: not needed',
            'changed: nothing\nreason: none\nfound: ' + said,
        ):
            assert task.report.problems(lie), (seed.id, lie)
        assert not task.report.problems('\n'.join(task.summary.splitlines()[::-1])), (seed.id, answer)


def test_scripts_without_content_lose_jobs_without_action(shipped):
    tasks = [seed_task(s) for s in shipped.seeds if s.no_action()]
    won = [(f.name, t.id) for t in tasks for f in FLOORS.values() if play(t, f).outcome.status == 'success']
    looked_up = [w for w in won if w[0] == 'floor-still']  # the answer is the last word of one line: 1 of 79
    assert len(looked_up) <= 0.03 * len(tasks) and looked_up == won, won


def test_a_player_that_acts_where_nothing_is_to_be_done_loses_the_job(shipped):
    s = next(s for s in shipped.seeds if s.no_action() == 'missing' and s.files)

    class Eager(Expert):
        name = 'eager'

        def script(self, task, rules):
            lines = expert_script(task, rules)
            return (
                lines[:-2]
                + [Message('assistant', tool_calls=[ToolCall('write_file', dict(path='answer.md', content='42\n'))])]
                + lines[-2:]
            )

    job = play(seed_task(s), Eager())
    assert job.outcome.status == 'failed' and 'made by mistake: answer.md' in job.outcome.detail
    assert play(seed_task(s), Expert()).outcome.status == 'success'


def test_a_todo_left_alone_is_checked_inside_a_job_that_acts(shipped):
    some = [(s, k) for s in shipped.seeds if not s.no_action() for k, x in enumerate(s.steps) if x.no_action]
    assert len(some) >= 10
    for s, k in some:
        t = seed_task(s)
        with Session(t) as session:
            player = Expert().start(session)
            while not session.done:
                session.step(player(session))
            files = session.ws.files()
        assert t.success(files)
        looked_at = {c.arguments['path'] for c in t.items[k].calls if c.arguments.get('path') in files} or set(
            t.files
        ) & set(files)
        assert all(not t.success({**files, p: files[p] + 'x\n'}) for p in looked_at), s.id
        assert all(c.name in LOOKS for c in t.items[k].calls)


BASE = Seed(
    's',
    'edit',
    'settings',
    instruction='Set a to 2 in x.ini.',
    files={'x.ini': 'a = 1\nb = 1\n'},
    summary='Set a.',
    steps=[
        Step(
            'Set a to 2 in x.ini',
            [
                {'read_file': {'path': 'x.ini'}},
                {'edit_file': {'path': 'x.ini', 'old_string': 'a = 1', 'new_string': 'a = 2'}},
            ],
            {'x.ini': 'a = 2\nb = 1\n'},
        )
    ],
)


@pytest.mark.parametrize(
    'reason, change',
    [
        ('unknown_behaviour', dict(behaviour='dancing')),
        ('held_out_family', dict(family='changelog')),
        ('no_job', dict(steps=[])),
        ('no_call', dict(steps=[replace(BASE.steps[0], calls=[])])),
        ('no_call', dict(steps=[replace(BASE.steps[0], calls=[{'todo_list': {}}])])),
        ('no_check', dict(steps=[replace(BASE.steps[0], want={})])),
        ('no_job', dict(steps=[replace(BASE.steps[0], calls=[{'read_file': 'x.ini'}])])),
        ('refused_call', dict(steps=[replace(BASE.steps[0], calls=[{'read_file': {'path': 'y.ini'}}])])),
        ('refused_call', dict(steps=[replace(BASE.steps[0], calls=[{'read_file': {'path': '../x.ini'}}])])),
        ('checker_failed', dict(steps=[replace(BASE.steps[0], want={'x.ini': 'a = 3\nb = 1\n'})])),
        ('action_in_no_action', dict(steps=[replace(BASE.steps[0], no_action='done')])),
        (
            'unknown_no_action',
            dict(steps=[Step('Look at x.ini', [{'read_file': {'path': 'x.ini'}}], no_action='bored')]),
        ),
        ('no_id', dict(id=' ')),
        ('no_instruction', dict(instruction='')),
        ('bad_vary', dict(vary={'': ['x']})),
        ('bad_vary', dict(vary={'a': 'bc'})),
        ('bad_also', dict(also=[['config', 'x']])),
        ('no_job', dict(files={'../x.ini': 'a = 1\n'})),
        ('no_job', dict(files={'x': '1', 'x/y': '2'})),
        ('no_job', dict(files={'x.ini': 5})),
        ('no_job', dict(files={'a' * 300: ''})),
        ('no_job', dict(steps=[replace(BASE.steps[0], calls=[{'fly': {}}])])),
        ('refused_call', dict(steps=[replace(BASE.steps[0], calls=[{'run_command': {'command': 'ls'}}])])),
        (
            'no_summary',
            dict(summary='', steps=[Step('Look at x.ini', [{'read_file': {'path': 'x.ini'}}], no_action='done')]),
        ),
    ],
)
def test_a_bad_seed_is_named_with_its_reason(tmp_path, reason, change):
    assert check_seed(BASE) == ('', '')
    assert check_seed(replace(BASE, **change))[0] == reason
    with pytest.raises(ValueError, match=reason):
        add_seed(replace(BASE, **change), tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_command_names_the_place_of_every_bad_line(tmp_path, capsys):
    lines = [
        json.dumps(to_dict(BASE)),
        '{"id": "torn", "beh',
        '',
        json.dumps(to_dict(BASE)),
        json.dumps(to_dict(replace(BASE, id='odd')) | {'colour': 1}),
        json.dumps(to_dict(replace(BASE, id='undone', steps=[replace(BASE.steps[0], want={'x.ini': 'a = 9\n'})]))),
    ]
    (tmp_path / 'edit.jsonl').write_text('\n'.join(lines) + '\n')
    assert main(['seeds', 'check', str(tmp_path), '--enough', '1']) == 1
    out = capsys.readouterr().out
    bad = [l for l in out.splitlines() if l.startswith('BAD')]
    assert len(bad) == 4
    for place, why in (
        ('line 2', 'unreadable'),
        ('line 4', 'duplicate_id'),
        ('line 5', "unknown field 'colour'"),
        ('line 6', 'checker_failed'),
    ):
        assert any(f'edit.jsonl, {place}:' in l and why in l for l in bad), (place, out)
    assert '4 bad of 5 seeds' in out


def test_warnings_do_not_fail_the_command(tmp_path, capsys):
    write_jsonl(tmp_path / 'edit.jsonl', [BASE, replace(BASE, id='twin', vary={'nowhere': ['x']})])
    assert main(['seeds', 'check', str(tmp_path)]) == 0
    out = capsys.readouterr().out
    for w in (
        'edit has 2 seeds, fewer than 50',
        'no seed in which nothing may be done',
        's and twin are nearly the same (1.00)',
        "varies 'nowhere'",
    ):
        assert w in out


def test_the_command_from_a_shell(tmp_path):
    run = lambda *a: subprocess.run(
        [sys.executable, '-c', 'import sys; from agentft.cli import main; sys.exit(main())', 'seeds', *a],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    r = run('check')
    assert r.returncode == 1 and 'seeds is no folder' in r.stderr and 'Traceback' not in r.stderr
    assert run('chekc').returncode == 2
    r = run('check', '--help')
    assert r.returncode == 0 and 'exit status is 1' in ' '.join(r.stdout.split())
    (tmp_path / 'seeds').mkdir()
    write_jsonl(tmp_path / 'seeds' / 'edit.jsonl', [BASE])
    assert run('check').returncode == 0


def test_a_failed_turn_and_its_correction_become_a_seed(tmp_path):
    for n in range(5):
        job = from_dict(
            Job, json.loads(json.dumps(to_dict(play(make_task('config', 300 + n), Faulty('failed_edit')))))
        )  # as read from jobs.jsonl
        turn = detect(job)[0].turn
        look = show_turn(job, turn)
        assert (
            'failed_edit' in look
            and 'old_string not found' in look
            and make_task('config', 300 + n).items[0].text in look
        )
        with pytest.raises(ValueError, match='did not succeed'):
            turn_seed(job, turn, 'edit')
        right = next(c for c in job.turns[turn + 1].said.tool_calls).arguments
        seed = turn_seed(
            job,
            turn,
            'edit',
            calls=[{'edit_file': right}],
            note='copied letter by letter',
            author='ana',
            id=f'mine-{n}',
        )
        assert check_seed(seed) == ('', '') and seed.parents == [job.id] and seed.author == 'ana'
        path = right['path']
        assert seed.files == {path: job.files_before[path]} and seed.steps[0].want == {path: job.files_after[path]}
        add_seed(seed, tmp_path)
    assert [s.id for s in read_seeds(tmp_path)] == [f'mine-{n}' for n in range(5)] and check_folder(tmp_path).bad == []


def test_files_are_those_of_the_moment_not_of_the_beginning():
    job = play(
        seed_task(
            replace(
                BASE,
                steps=BASE.steps
                + [
                    Step(
                        'Set b to 3 in x.ini',
                        [{'edit_file': {'path': 'x.ini', 'old_string': 'b = 1', 'new_string': 'b = 3'}}],
                        {'x.ini': 'a = 2\nb = 3\n'},
                    ),
                    Step(
                        'Move x.ini to y.ini',
                        [{'move_file': {'source': 'x.ini', 'dest': 'y.ini'}}],
                        {'x.ini': None, 'y.ini': 'a = 2\nb = 3\n'},
                    ),
                ],
                id='t',
            ),
        ),
        Expert(),
    )
    at = {c.name: i for i, t in enumerate(job.turns) for c in t.said.tool_calls}  # of several, the last one
    second = turn_seed(job, at['edit_file'], 'todo')
    assert second.files == {'x.ini': 'a = 2\nb = 1\n'} and second.steps[0].todo == 'Set b to 3 in x.ini'
    moved = turn_seed(job, at['move_file'], 'tools')
    assert moved.files == {'x.ini': 'a = 2\nb = 3\n'} and moved.steps[0].want == {
        'x.ini': None,
        'y.ini': 'a = 2\nb = 3\n',
    }
    with pytest.raises(ValueError, match='not known|refused|does not'):
        turn_seed(
            job,
            at['move_file'] + 1,
            'edit',
            calls=[{'edit_file': {'path': 'x.ini', 'old_string': 'a', 'new_string': 'c'}}],
        )


@pytest.mark.parametrize('mode', sorted(FAULTS))
@pytest.mark.parametrize('family', [f for f in FAMILIES if FAMILIES[f].seen])
def test_every_turn_gives_a_good_seed_or_says_why_not(mode, family):
    job = play(make_task(family, 41), Faulty(mode))
    made = 0
    for i in range(len(job.turns)):
        assert show_turn(job, i).startswith(f'{job.id}, turn {i}')
        try:
            seed = turn_seed(job, i, 'todo')
        except ValueError as e:
            assert len(str(e)) > 20
        else:
            made += 1
            assert check_seed(seed) == ('', '')
    works = any(c.name in ('edit_file', 'write_file') and r and r.ok for _, c, r in job.calls())
    assert made or not works


def test_what_the_evaluation_keeps_is_no_seed():
    for t in (make_task('table', 3), make_task('config', EVAL_SEED + 1)):
        job = play(t, Expert())
        for i in range(len(job.turns)):
            with pytest.raises(ValueError, match='kept for evaluation'):
                turn_seed(job, i, 'edit', family='settings')


def test_what_is_not_known_is_not_guessed():
    job = play(make_task('config', 8), Expert())
    i = next(i for i, t in enumerate(job.turns) if t.said.tool_calls[0].name == 'edit_file')
    path = job.turns[i].said.tool_calls[0].arguments['path']
    with pytest.raises(ValueError, match='has the turns 0 to'):
        turn_seed(job, 99, 'edit')
    job.turns[i].meta['arguments'] = 'preview'
    with pytest.raises(ValueError, match='only as previews'):
        turn_seed(job, i, 'edit')
    assert 'only as previews' in show_turn(job, i)
    job.turns[i].meta.clear()
    job.source, job.files_before, job.files_complete = 'mongodb', {}, False
    assert (
        turn_seed(job, i, 'edit').files[path] == play(make_task('config', 8), Expert()).files_before[path]
    )  # known from the read before it
    job.turns[i - 1].results[0].content = job.turns[i - 1].results[0].content[:12] + '... [truncated]'
    with pytest.raises(ValueError, match=f'what {path} held before turn {i} is not known in full'):
        turn_seed(job, i, 'edit')


def test_the_same_seed_comes_out_of_an_audit_trail():
    "Played, written as audit documents, read again: the files are then known only from reads, and the seed is the same."
    job = play(make_task('rename', 60), Expert())
    i = next(i for i, t in enumerate(job.turns) if t.said.tool_calls[0].name == 'edit_file')
    back = from_documents(to_documents(job))
    k = next(k for k, t in enumerate(back.turns) if t.said.tool_calls and t.said.tool_calls[0].name == 'edit_file')
    a, b = turn_seed(job, i, 'edit'), turn_seed(back, k, 'edit', family='rename')
    assert (a.files, a.steps, a.instruction) == (b.files, b.steps, b.instruction)


@pytest.mark.parametrize(
    'calls',
    [
        [],
        [{}],
        ['x'],
        [{'edit_file': {}}],
        [{'edit_file': {'path': ['a']}}],
        [{'read_file': {'path': '../x'}}],
        [{'write_file': {'path': '/etc/x', 'content': 'a'}}],
        [{'write_file': {'path': 'a'}}],
        [{'move_file': {'source': 'zz', 'dest': 'y'}}],
        [{'list_files': {'path': 'x'}}],
        [{'job_complete': {'summary': '', 'deliverables': []}}],
        [{'fly': {}}],
    ],
)
def test_calls_that_make_no_seed_are_refused_with_a_reason(calls):
    with pytest.raises(ValueError):
        turn_seed(play(make_task('config', 5), Expert()), 3, 'tools', calls=calls)


@recorded
def test_turns_of_recorded_jobs():
    "On real documents nothing but a ValueError may come out, and a good share of the edits and writes becomes seeds."
    why, made, wanted = Counter(), 0, 0
    for n, job in enumerate(read_jobs(str(AUDIT / 'dump'), Counter())):
        if n >= 40:
            break
        for i, t in enumerate(job.turns):
            if not any(c.name in ('edit_file', 'write_file') for c in t.said.tool_calls):
                continue
            show_turn(job, i)
            wanted += 1
            try:
                s = turn_seed(job, i, 'edit')
            except ValueError as e:
                why[str(e)[:40]] += 1
                continue
            assert check_seed(s) == ('', '') and s.parents == [job.id]
            made += 1
    assert made >= wanted / 2, (made, wanted, why.most_common(8))


@pytest.mark.parametrize('fault', list(FAULTS))
def test_every_fault_can_be_played_where_nothing_is_delivered(fault):
    seed = next(s for s in read_seeds(SEEDS) if s.no_action())
    assert play(seed_task(seed), Faulty(fault)).turns
