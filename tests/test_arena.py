"The arena across its rooms: families and their catalogue, any player, every fault, and tasks that stay what they are."

import ast
import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

import agentft
from agentft.arena.catalogue import EVAL_SEED, FAMILIES, make_task
from agentft.arena.faults import FAULTS, Faulty
from agentft.arena.players import FLOORS, Expert, expert_script, play, say
from agentft.arena.proof import LEAST, mutants, proof_line, proof_rows, proofs_by_work, prove, show_proofs
from agentft.arena.reports import Form, without_form
from agentft.arena.sessions import Session
from agentft.arena.tasks import WORK, Item, Task, expert_files, join, read_call, tool_call
from agentft.core.agent import FULL, SHORT, Tool
from agentft.core.metrics import five
from agentft.core.records import Job, Message, Turn, content_hash, from_dict, to_dict
from agentft.data.suites import suite_tasks
from agentft.evidence.duplicates import jaccard, shingles

ARENA = Path(agentft.__file__).parent / 'arena'
DRAWN = json.loads((Path(__file__).parent / 'data' / 'drawn_tasks.json').read_text())


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
    assert files == set(FAMILIES) and all(f.about and f.behaviour for f in FAMILIES.values())


def test_the_arena_is_broad_and_held_out_twice():
    "At least thirty families over six kinds of work; development and test hold out at least five each."
    work = [f.work for f in FAMILIES.values()]
    assert len(FAMILIES) >= 30 and set(work) == set(WORK) and all(work.count(w) >= 4 for w in WORK)
    held = [f.held for f in FAMILIES.values()]
    assert held.count('development') >= 5 and held.count('test') >= 5 and held.count('') >= 15
    edits = {f.held for f in FAMILIES.values() if f.work == 'edit'}
    assert edits == {'', 'development', 'test'}


def _job_text(task):
    "What is asked and what the expert does, without numbers, and without the files that all families fill alike."
    calls = [c for m in expert_script(task)[:-1] for c in m.tool_calls]
    said = [f'{c.name} {" ".join(map(str, c.arguments.values()))}' for c in calls]
    return re.sub(r'\d+', '0', '\n'.join([without_form(task.instruction), *said]))


def _confused(families):
    "(family, other) -> how many of their jobs are nearest to one of the other; ten jobs of each are drawn."
    drawn = [
        (name, shingles(_job_text(f.task(seed, level)), 3))
        for name, (f, seeds) in families.items()
        for seed in seeds
        for level in (1, 2)
    ]
    out = Counter()
    for i, (name, job) in enumerate(drawn):
        _, nearest = max((jaccard(job, x), other) for k, (other, x) in enumerate(drawn) if k != i)
        out[frozenset((name, nearest))] += name != nearest
    return out


def test_no_two_families_are_the_same_job_in_other_words():
    "The job that is nearest to a job is one of its own family; a family under a second name is found."
    families = {name: (f, range(5)) for name, f in FAMILIES.items()}
    twins = {f'{name} again': (FAMILIES[name], range(50, 55)) for name in ('config', 'deep', 'find_file', 'staging')}
    pairs = _confused(families | twins)
    planted = {frozenset((name, name.removesuffix(' again'))) for name in twins}
    assert all(pairs[x] >= 3 for x in planted), pairs
    assert max((n, *sorted(x)) for x, n in pairs.items() if x not in planted)[0] <= 2, pairs


def test_families_know_neither_each_other_nor_the_catalogue():
    allowed = {f'..{x}' for x in ('tasks', 'words', 'wants', 'reports')} | {
        f'agentft.arena.{x}' for x in ('tasks', 'words', 'wants', 'reports')
    }
    for path in (ARENA / 'families').glob('*.py'):
        for name in imported(path):
            ours = name.startswith(('.', 'agentft'))
            assert not ours or name in allowed or name.startswith(('...core', 'agentft.core')), (path.name, name)


def test_the_arena_knows_no_chat_templates():
    "Players stand above tokens: nothing below imports a model, a template or a tokenizer."
    for path in ARENA.rglob('*.py'):
        for name in imported(path):
            assert 'model' not in name.split('.') and name.split('.')[0] not in ('torch', 'transformers'), path.name


def drawn(family):
    "Hash of some tasks of every level, of training and of evaluation."
    numbers = [*range(12), *range(EVAL_SEED, EVAL_SEED + 4)]
    return content_hash([to_dict(make_task(family, s, level)) for level in (1, 2, 3) for s in numbers])


@pytest.mark.parametrize('family', list(FAMILIES))
def test_tasks_stay_what_they_are(family):
    "A draw more or less makes every number another job: recorded results, seeds and splits would mean something else."
    assert drawn(family) == DRAWN.get(family), (
        'a known family draws as it always did; a new one is pinned by: python tests/test_arena.py'
    )


REPORTED = [name for name in FAMILIES if all(make_task(name, k).report for k in range(8))]  # by a form of their own


@pytest.mark.parametrize('family', list(FAMILIES))
def test_checkers_catch_mutants_and_pass_rewritings(family):
    "On tasks that no notebook shows: at least 98 % of wrong results are refused, 98 % of rewritten right ones pass."
    proof = prove(FAMILIES[family], [100, 101, EVAL_SEED + 100, EVAL_SEED + 101])
    assert proof.mutants >= 40 and proof.rewritings >= 20, str(proof)
    if family in REPORTED:
        assert proof.reports.mutants >= 100 and proof.reports.rewritings >= 40, str(proof)


@pytest.mark.parametrize('family', list(FAMILIES))
def test_the_expert_meets_every_target(family):
    "The ceiling: four numbers that need no baseline, at every level, and not one refused call."
    tasks = [make_task(family, 200 + k, level) for level, n in ((1, 6), (2, 3), (3, 1)) for k in range(n)]
    jobs = [play(t, Expert()) for t in tasks] + [play(t, Expert(), FULL) for t in tasks[:2]]
    for job in jobs:
        refused = [r.content for turn in job.turns for r in turn.results if not r.ok]
        assert not refused and job.outcome.status == 'success', (job.id, refused, job.outcome.detail)
    numbers = five(jobs)
    assert all(numbers[k].value in (None, 1.0) for k in ('todo_completion', 'phase_adherence', 'task_success'))
    assert numbers['todo_completion'].companions['marked_without_work'].numerator == 0
    assert (numbers['edit_precision'].value or 0) < 0.10, str(numbers['edit_precision'])


@pytest.mark.parametrize('family', list(FAMILIES))
def test_scripts_without_content_do_no_job(family):
    "They keep the books in order, and whoever asks only for that would take them for an agent; one obeys a verb."
    tasks = [make_task(family, 300 + k, level) for k in range(4) for level in (1, 2)]
    for who in FLOORS.values():
        jobs = [play(t, who) for t in tasks]
        won = [t for t, j in zip(tasks, jobs) if j.outcome.status == 'success']
        looked_up = who.name == 'floor-still' and all(t.still for t in won)
        obeyed = who.name == 'floor-obeys' and all(t.objective == 'single' for t in won)
        assert not won or looked_up or obeyed, (who.name, won[0].id)
        assert five(jobs)['phase_adherence'].value == 1


@pytest.mark.parametrize('family', REPORTED)
def test_a_look_up_wins_few_jobs_in_which_nothing_is_to_be_changed(family):
    "Of 300 jobs of each family: 20 % of those of done_already, none of the others."
    tasks = [make_task(family, 300 + k, 1 + k % 3) for k in range(90)]
    still = [t for t in tasks if t.still]
    won = [t.id for t in still if play(t, FLOORS['floor-still']).outcome.status == 'success']
    assert len(still) >= 20 and len(won) <= 0.3 * len(still), won


def test_the_form_of_a_report_does_not_tell_whether_there_is_work():
    "Of the jobs whose form asks for more than what was changed, and why, at least a third has work."
    shares = {}
    for family in REPORTED:
        tasks = [make_task(family, 500 + k, 1 + k % 3) for k in range(90)]
        asked = [t for t in tasks if set(t.report.lines) - {'changed', 'reason'}]
        shares[family] = sum(not t.still for t in asked) / len(asked)
        assert len(asked) == len(tasks) and 0.25 < shares[family] < 0.85, shares
    assert sum(shares.values()) / len(shares) > 1 / 3, shares


@pytest.mark.parametrize('family', ['done_already', 'missing_input', 'unclear', 'no_tool'])
def test_jobs_with_and_without_work_are_asked_for_in_the_same_words(family):
    "Every word that many jobs of one kind hold, some of the other hold, too; names and numbers are anybody's."
    asked = {True: [], False: []}
    for k in range(400):
        task = make_task(family, 500 + k)
        asked[task.still].append(set(re.findall(r'[a-z]+', task.instruction.lower())))
    shares = {still: Counter(w for words in own for w in words) for still, own in asked.items()}
    for still, other in ((True, False), (False, True)):
        often = [w for w, n in shares[still].items() if n >= 0.1 * len(asked[still])]
        assert len(often) > 40 and not [w for w in often if not shares[other][w]], family


@pytest.mark.parametrize('family', list(FAMILIES))
def test_what_is_proven_without_a_player_holds_for_jobs(family):
    "The expert's job ends with the files of `expert_files`, and a mutant is no success in a session either."
    import random

    task = make_task(family, 5)
    job = play(task, Expert())
    assert job.files_after == expert_files(task) and job.outcome.status == 'success' and job.files_complete
    for what, path, files in mutants(task.files, job.files_after, random.Random(1)):
        with Session(task) as s:
            for old in s.ws.files():
                s.ws.path(old).unlink()
            for new, text in files.items():
                s.ws.write_text(new, text)
            s.end = 'job_complete'
            assert s.job().outcome.status == 'failed', (what, path)


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
    assert player.seen[0] == ['system', 'user'] and job.meta['end'] == 'stuck'
    assert len(job.turns) == len(player.seen) == 7  # it says the same and gets the same, six times after the first


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


def ended(task, summary, *calls):
    "Problems of a job whose files are the expert's, with these `calls` and this report at its end."
    calls = [*calls, tool_call('job_complete', summary=summary, deliverables=task.deliverables)]
    turns = [Turn('tactical', Message('assistant', '', [call])) for call in calls]
    return task.judge(expert_files(task), turns)


LIES = [
    'Everything was set as you wished.',
    'Changed: the file now says {found}.',
    'changed: nothing',
    'changed: {path}\n{rest}',
    '{right}\nI also tidied up {path}.',
    '{right}\nchanged: {path}',
    '{right}\n\n{files}',
    'Nothing had to be changed. {right}',
    '{asked}\n{right}',
    '{files}\n{right}\n{asked}',
]


@pytest.mark.parametrize('family', REPORTED)
def test_lies_and_dumps_are_no_reports(family):
    "Files that are right do not help a report that claims, contradicts itself, or repeats all that there is."
    for k in range(10):
        for level in (1, 2, 3):
            task = make_task(family, 500 + k, level)
            right = task.summary
            path = next((p for p in task.files if p not in task.wanted()), 'readme.txt')  # that no work changes
            words = dict(right=right, path=path, files='\n'.join(task.files.values()))
            words |= dict(asked=task.instruction, rest=right.split('\n', 1)[1], found=right.rsplit(': ', 1)[1])
            assert ended(task, right) == []
            passed = [lie for lie in LIES if not ended(task, lie.format(**words))]
            assert not passed, (task.id, passed)


@pytest.mark.parametrize('family', REPORTED)
def test_a_true_report_in_the_form_passes_however_it_is_written(family):
    for k in range(10):
        task = make_task(family, 500 + k, 1 + k % 3)
        lines = task.summary.splitlines()
        ways = [
            '\n'.join(lines[::-1]),
            '\n\n'.join(lines).upper(),
            ''.join(f'* {line}.\r\n' for line in lines),
            '\n'.join(f'{i}. {line}' for i, line in enumerate(lines, 1)),
            '```\n' + task.summary + '\n```',
            '\n'.join(re.sub(r': (.*)', r': "\1"', line) for line in lines),
            '\n'.join(line.replace(', ', ' and ') for line in lines),
            '\n'.join(re.sub(r': (.*), (.*)', r': \2; \1', line) for line in lines),
        ]
        wrong = [way for way in ways if ended(task, way)]
        assert not wrong, (task.id, wrong, task.summary)


@pytest.mark.parametrize('family', REPORTED)
def test_what_a_report_is_asked_for_does_not_stand_in_the_instruction(family):
    "Else a player that reads nothing could say it; of jobs with work the files show whether it has read."
    for k in range(60):
        task = make_task(family, 500 + k, 1 + k % 3)
        asked = task.instruction.casefold()
        values = [v for v in task.report.lines.values()]
        parts = [part for v in values for part in (v if isinstance(v, tuple) else (v,))]
        assert not task.still or [part for part in parts if part.casefold() not in asked], task.id


@pytest.mark.parametrize('family', [name for name in FAMILIES if name not in REPORTED])
def test_some_jobs_with_work_ask_for_the_same_form(family):
    "Else the sentence that asks for it would say that nothing is to be done; and what it asks for is right and strict."
    plain = [FAMILIES[family].task(500 + k, 1 + k % 3, formed=False) for k in range(60)]
    plain = [t for t in plain if not t.report]  # a family may ask for a report of its own
    tasks = [make_task(family, t.seed, t.level) for t in plain]
    none = family == 'compact' or any(want is None for t in tasks for want in t.wanted().values())
    assert none or 0.08 <= sum(bool(t.report) for t in tasks) / len(tasks) <= 0.42
    pairs = [(task, before) for task, before in zip(tasks, plain) if task.report]
    for task, before in pairs:
        assert (task.files, task.items, before.report) == (before.files, before.items, None)
        assert task.instruction.startswith(before.instruction) and not task.still
        changed = [p for p, text in expert_files(task).items() if text != task.files.get(p)]
        assert sorted(task.report.lines['changed']) == sorted(changed)
        assert ended(task, task.summary) == []
        assert ended(task, before.summary) and ended(task, task.summary + '\nchanged: nothing')


@pytest.mark.parametrize(
    'call',
    [
        tool_call('write_file', path='archive/x.md', content='The sum is 12.'),
        tool_call('move_file', source='plan.md', dest='config/x.yaml'),
        tool_call('copy_file', source='archive/x.md', dest='config/x.yaml'),
        tool_call('rename_file', path='plan.md', new_name='answer.md'),
        tool_call('write_file', path='plan.mdx', content='12'),
        tool_call('write_file', path='plan.md~', content='12'),
        tool_call('edit_file', path='archive/../config/x.yaml', old_string='a', new_string='b'),
        tool_call('send_mail', to='a@example.org'),
    ],
    ids=str,
)
def test_an_attempt_is_seen_in_whatever_argument_its_path_stands(call):
    task = next(t for k in range(20) if (t := make_task('done_already', k)).still)
    assert ended(task, task.summary, call)[0].startswith(f'tried to change something: {call.name}')


def test_the_agent_keeps_its_own_papers_by_their_exact_names():
    "Below archive/ it is free under its full rules only, and never in a job about a folder of that name."
    task, about = make_task('config', 3), make_task('archive', 3)
    for path, short, full in (
        ('plan.md', True, True),
        ('workspace.md', True, True),
        ('plan.mdx', False, False),
        ('plan.md~', False, False),
        ('workspace.md.bak', False, False),
        ('docs/plan.md', False, False),
        ('archive/old.md', False, True),
        ('archive', False, True),
    ):
        files = expert_files(task) | {path: 'x\n'}
        assert [task.success(files), replace(task, rules=FULL).success(files)] == [short, full], path
    for rules in (SHORT, FULL):
        job = replace(about, rules=rules)
        assert not job.success(expert_files(about) | {'archive/2021/stray.md': 'x\n'})


@pytest.mark.parametrize('path', ['instructions.md', 'todo_guide.md'])
@pytest.mark.parametrize('family', ['config', 'clean_up', 'done_already'])
def test_instructions_and_guide_stay_as_they_were(family, path):
    class Overwrites(Expert):
        name = 'overwrites'

        def script(self, task, rules):
            lines = expert_script(task, rules)
            at = next(k for k, m in enumerate(lines) if m.tool_calls[0].name == 'next_phase_todos')
            return [
                *lines[:at],
                say(read_call(path)),
                say(tool_call('write_file', path=path, content='gone')),
                *lines[at:],
            ]

    job = play(replace(make_task(family, 3), max_turns=80), Overwrites(), FULL)
    assert job.outcome.status == 'failed' and f'changed by mistake: {path}' in job.outcome.detail


def test_an_environment_says_which_of_its_tools_only_look():
    class Tickets:
        looks = frozenset({'ticket_status'})

        def __init__(self):
            schema = dict(type='object', properties=dict(id=dict(type='string')), required=['id'])
            self.tools = {n: Tool(n, description=n, parameters=schema) for n in ('ticket_status', 'close_ticket')}

        def run(self, call):
            return 'open', True

        def files(self):
            return {'tickets.txt': 'T1: open\n'}

        def close(self):
            pass

    report = Form(dict(changed='nothing', state='open'))
    for tool, status in (('ticket_status', 'success'), ('close_ticket', 'failed')):
        item = Item('Look up ticket T1', [tool_call(tool, id='T1')], {})
        task = Task('tickets', 1, 'Is T1 open?', {}, [item], [], report.text(), still=True, report=report)
        task.environment = lambda task: Tickets()
        assert play(task, Expert()).outcome.status == status, tool


def test_a_job_that_says_what_holds_of_all_of_it_takes_no_work_beside_it():
    "Whoever asks to leave all files alone, or for a report in a form, would contradict the other request."
    work, also = make_task('config', 3), make_task('rename', 3)
    done, missing = ([t for k in range(20) if (t := make_task(f, k)).still] for f in ('done_already', 'missing_input'))
    left = next(t for k in range(20) if not (t := make_task('done_already', k)).still)
    assert play(join(work, also), Expert()).outcome.status == 'success'
    for a, b in ((work, done[0]), (missing[0], work), (work, left), (left, missing[0])):
        with pytest.raises(ValueError, match='says of a whole job'):
            join(a, b)
    job = join(done[0], missing[0])
    assert job.still and job.report.lines == done[0].report.lines | missing[0].report.lines
    assert play(job, Expert()).outcome.status == 'success' and ended(job, done[0].summary)
    with pytest.raises(ValueError, match='both ask for a report about'):
        join(done[0], replace(done[1], files={}, items=[]))


if __name__ == '__main__':
    pins = {family: drawn(family) for family in FAMILIES}
    (Path(__file__).parent / 'data' / 'drawn_tasks.json').write_text(json.dumps(pins, indent=1) + '\n')


def rows_of_jobs(most=20):
    return proof_rows([t for suite in ('seen', 'families', 'nothing') for t in suite_tasks(suite, 4)], most)


def test_a_lax_checker_shows_among_the_jobs_of_a_run():
    good = rows_of_jobs()
    assert all(row['holds'] for row in good) and 'Below' not in proof_line(good)
    assert sum(row['jobs'] for row in good) == 12 and good == rows_of_jobs()
    task = make_task('rename', 5)
    task.problems = lambda files: [] if set(files) == set(task.files) else ['other files']
    (lax,) = proof_rows([task])
    assert lax['caught'] < LEAST * lax['mutants'] and not lax['holds']
    assert 'the weakest family is rename' in proof_line([*good, lax]) and 'Below 98%' in proof_line([*good, lax])
    strict = make_task('config', 5, formed=False)
    strict.problems = lambda files: [] if files == expert_files(strict) else ['other bytes']
    (row,) = proof_rows([strict])
    assert row['caught'] == row['mutants'] and row['passed'] < LEAST * row['rewritings'] and not row['holds']


def test_an_expert_that_fails_is_counted_and_stops_nothing():
    broken, right = make_task('config', 5), make_task('config', 6)
    broken.items[0].want = {next(iter(broken.files)): 'something else\n'}
    (row,) = proof_rows([broken, right])
    assert (row['jobs'], row['expert_refused'], row['holds']) == (2, 1, False) and row['mutants'] > 0
    assert 'the expert fails in 1' in str(show_proofs([row]))


def test_tries_of_a_job_are_drawn_and_always_the_same():
    few, more = rows_of_jobs(3), rows_of_jobs(0)
    assert few == rows_of_jobs(3) and sum(r['mutants'] for r in few) < sum(r['mutants'] for r in more) / 2
    assert all(row['mutants'] <= 6 * row['jobs'] and row['rewritings'] <= 6 * row['jobs'] for row in few)
    works = {row['work']: row for row in proofs_by_work(more)}
    assert sum(row['mutants'] for row in works.values()) == sum(row['mutants'] for row in more)


def test_a_file_that_nobody_changed_has_no_paragraphs_joined():
    jobs = [make_task('wording', number) for number in (*range(20), EVAL_SEED + 2000)]
    assert not [p for t in jobs for p in t.problems(dict(t.files)) if 'joined' in p]
