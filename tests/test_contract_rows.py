"Rows under a team's own contract and of its own environment: what they hold, what is refused, what phase 4 makes of them."

import json
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parent / 'helpers'))

from canned_teacher import Canned

from agentft.arena.catalogue import EVAL_SEED, make_task
from agentft.arena.environments import environment_tasks
from agentft.arena.faults import FAULTS
from agentft.arena.players import Expert, play, say
from agentft.arena.sessions import Session
from agentft.arena.tasks import tool_call
from agentft.arena.toolboxes import Toolbox, disguise, under_contract
from agentft.checks.execution import check_execution
from agentft.checks.gate import Gate, Reserved
from agentft.checks.rules import check_rules, example_task, rules_of
from agentft.core.agent import FULL, SHORT, TOOLS, in_words_of, tool_schemas, tools_from_schemas
from agentft.core.contracts import Contract, infer_contract, write_contract
from agentft.core.records import Example, from_dict, to_dict
from agentft.data.expansion import expand
from agentft.data.seeds import BEHAVIOURS, Seed, Step, family_seeds, held_kind, read_seeds
from agentft.data.suites import suite_tasks
from agentft.data.variations import OfflineTeacher
from agentft.evaluation.standings import refuse_copies
from agentft.generation.contract_rows import environment_rows, open_team, team_contract, team_rows, training_jobs
from agentft.generation.wishes import generate, wishes
from agentft.model.chat import ChatFormat
from agentft.model.loading import load_tokenizer
from agentft.pairs.played_pairs import pair
from agentft.teachers.prompts import read_prompts
from agentft.teachers.questions import Answer, Teacher
from agentft.traces.wanted_jobs import read_jobs

ROOT = Path(__file__).resolve().parent.parent
VARIETY = yaml.safe_load((ROOT / 'prompts' / 'variety.yaml').read_text())


def renamed_contract(rules):
    "A contract whose tools and arguments all have other names, with a tool that only this team has."
    task = example_task(Example([], meta=dict(arena=[['config', 1]])))
    aliases = next(x for k in range(20) if 'job_complete' in (x := disguise(task, k, vocabulary=2).toolbox.aliases))
    known = {name: TOOLS[name] for name in aliases}
    tools = Toolbox(aliases).offered(known)
    schema = dict(type='object', properties=dict(number=dict(type='integer')), required=['number'])
    crm = replace(TOOLS['file_exists'], name='crm_lookup', description='Look a customer up.', parameters=schema)
    return Contract(tools | {crm.name: crm}, rules, aliases['job_complete'][0])


@pytest.fixture(scope='module')
def contract(tmp_path_factory):
    "As a team has it: in a file."
    own = renamed_contract(replace(SHORT, first=('Plan what is to be done.',)))
    return team_contract(str(write_contract(own, tmp_path_factory.mktemp('team') / 'team.yaml')))


@pytest.fixture(scope='module')
def team(contract):
    return open_team(contract, per_suite=12)


@pytest.fixture(scope='module')
def reserved(team):
    return Reserved(4, more=tuple(team.held))


def plain_seeds():
    return [s for s in read_seeds(ROOT / 'seeds') if not held_kind(s)] + family_seeds()


@pytest.fixture(scope='module')
def offline(team, reserved, tmp_path_factory):
    "Rows of the offline teacher, half of them under the contract."
    seeds = plain_seeds()
    kinds = sorted({(s.behaviour, s.family) for s in seeds})[::2]
    teacher = OfflineTeacher(tmp_path_factory.mktemp('a') / 'answers.sqlite')
    return team_rows(seeds, dict.fromkeys(kinds, 2), teacher, Gate(reserved), team, start=7_000_000)


class TeamTeacher(Teacher):
    "The simulated model, in the words of a contract."

    name, offline = 'canned', True

    def __init__(self, contract):
        super().__init__(':memory:')
        self.model, self.tools, self.systems = Canned(), contract.tools, []

    def answers(self, questions):
        for q in questions:
            yield Answer(self.key(q), self.name, True, self.value(q), prompt=q.prompt)

    def value(self, q):
        first = q.messages[0].content
        if q.schema:
            return self.model.written(first)
        self.systems.append(q.system)
        said = sum(m.role == 'assistant' for m in q.messages)
        line = self.model.line(first, said, f'{first}{q.number}')
        return {'message': to_dict(replace(line, tool_calls=[in_words_of(c, self.tools) for c in line.tool_calls]))}


@pytest.fixture(scope='module')
def played(team, reserved, contract):
    "Rows of a teacher that plays, all under the contract."
    teacher = TeamTeacher(contract)
    wished = wishes(40, dict(job=1), dict.fromkeys(BEHAVIOURS, 1), VARIETY, seeds=plain_seeds())
    accept = team.guard(Gate(reserved))
    return teacher, generate(wished, teacher, read_prompts(), accept, place=team.placer(1))


def of_team(rows):
    return [e for e in rows if e.meta.get('team') == 'contract']


def is_of(e, contract):
    "Has the row the tools, rules and phases of the contract, and no other word for them?"
    offered = tools_from_schemas(e.tools, e.meta['contract'])
    same = all(contract.tools[name].phases == tool.phases for name, tool in offered.items())
    called = {c.name for m in e.messages for c in m.tool_calls}
    return same and called <= set(offered) <= set(contract.tools) and rules_of(e) == contract.rules


def test_half_of_the_rows_are_in_the_words_of_the_team(offline, contract):
    rows, refused, short = offline
    own = of_team(rows)
    assert len(own) >= 20 and abs(len(own) - len(rows) / 2) <= 1 and not short, Counter(r.reason for r in refused)
    for e in own:
        assert is_of(e, contract) and 'execution' in e.verified
        names = {t['function']['name'] for t in e.tools}
        assert 'crm_lookup' in names and not names & {'read_file', 'edit_file', 'write_file'}
    usual = [e for e in rows if e not in own]
    assert all('contract' not in e.meta and e.meta['rules'] == 'short' for e in usual)


def test_a_teacher_plays_in_the_words_of_the_team(played, contract):
    teacher, g = played
    assert len(g.examples) >= 20, Counter(r.reason for r in g.rejected)
    assert all(is_of(e, contract) and 'execution' in e.verified for e in g.examples)
    assert {e.meta['kind'] for e in g.examples} == {'blueprint'}
    assert not any('edit_file' in text or 'todo_complete' in text for text in teacher.systems)


def test_rows_read_from_disk_are_verified_again(offline, played):
    for e in of_team(offline[0])[::4] + played[1].examples[::4]:
        again = from_dict(Example, json.loads(json.dumps(to_dict(e))))
        task = example_task(again)
        assert check_rules(again) == [] and check_execution(again, task) == []


def test_a_row_begins_with_the_bytes_that_the_evaluation_shows(offline, played, contract):
    fmt = ChatFormat(load_tokenizer('smollm2-135m'))
    for e in of_team(offline[0])[::2] + played[1].examples[::2]:
        with Session(under_contract(example_task(e), contract)) as s:
            shown = fmt.prompt(s.pending, s.tools)
            assert fmt.encode(e.messages, e.tools)[0][: len(shown)] == shown
            assert fmt.render(e.messages[:2], e.tools) == fmt.render(s.messages, s.tools)


def spoiled(e, how):
    "The row with one thing wrong."
    calls = [(k, c) for k, m in enumerate(e.messages) for c in m.tool_calls]
    tools = tools_from_schemas(e.tools, e.meta['contract'])
    at, call = next((k, c) for k, c in calls if tools[c.name].like in ('edit_file', 'write_file', 'read_file'))
    theirs = tools[call.name]
    messages, meta, offer = list(e.messages), dict(e.meta), e.tools
    if how == 'tool':
        wrong = replace(call, name=theirs.like)
    elif how == 'argument':
        wrong = replace(call, arguments={theirs.arguments.get(k, k): x for k, x in call.arguments.items()})
    else:
        wrong = call
    messages[at] = replace(messages[at], tool_calls=[wrong if c is call else c for c in messages[at].tool_calls])
    if how == 'result':
        k = next(k for k in range(at, len(messages)) if messages[k].role == 'tool')
        messages[k] = replace(messages[k], content=messages[k].content + ' (1 line)')
    if how == 'offer':
        offer = json.loads(json.dumps(e.tools).replace(f'"{call.name}"', '"other_name"'))
        meta['contract'] = {('other_name' if n == call.name else n): x for n, x in meta['contract'].items()}
        renamed = [replace(c, name='other_name' if c.name == call.name else c.name) for _, c in calls]
        it = iter(renamed)
        messages = [replace(m, tool_calls=[next(it) for _ in m.tool_calls]) for m in messages]
    if how == 'usual':
        offer, meta['contract'] = tool_schemas(['read_file', 'edit_file']), {}
    if how == 'rules':
        meta['rules'] = 'short'
    return replace(e, id='', messages=messages, tools=offer, meta=meta, verified=[])


@pytest.mark.parametrize('how', ['tool', 'argument', 'result', 'offer', 'usual', 'rules'])
def test_a_changed_row_is_refused(offline, team, reserved, how):
    accept, seen = team.guard(Gate(reserved)), Counter()
    for e in of_team(offline[0])[::3]:
        no = accept(spoiled(e, how))
        assert no is not None, (how, e.id)
        seen[no.reason] += 1
    assert seen.total() >= 6 and 'duplicate' not in seen, seen
    assert all(accept(replace(e, id='', verified=[])) is None for e in of_team(offline[0])[::3])


def copied(task, team, number=5):
    "A training row in the team's words that holds a job of the evaluation, but says that it is something else."
    steps = []
    for item in task.items:
        calls = [{c.name: dict(c.arguments)} for c in item.calls]
        steps.append(Step(item.text, calls, {p: w for p, w in item.want.items() if isinstance(w, str | None)}))
    seed = Seed(f'own-{number}', 'edit', 'copied', instruction=task.instruction, files=task.files, steps=steps)
    job = play(team.place(task), Expert())
    meta = dict(origin='teacher', rules='short', contract=job.contract, seed=to_dict(seed), arena=[], wrong_turns=[])
    return Example(job.messages(), job.tools, behaviour='edit', family='copied', parents=[seed.id], meta=meta)


def test_a_copy_of_a_job_of_the_team_s_evaluation_is_refused_by_both_phases(contract, team, reserved):
    suite = suite_tasks('contract', 10, contract=contract)
    for task in suite:
        e = copied(replace(task, toolbox=None), team)
        hit, share = reserved.near.find(e.messages)
        assert hit == task.id, (hit, share)
        with pytest.raises(ValueError, match='hold a job of the evaluation'):
            refuse_copies(suite, [e])
    plain = [play(replace(t, toolbox=None, rules=SHORT), Expert()) for t in suite]  # in the usual words
    assert [reserved.near.find(j.messages())[0] for j in plain] == [t.id for t in suite]


def test_honest_rows_pass_the_check_of_phase_4(offline, played, contract):
    suite = suite_tasks('contract', 20, contract=contract)
    assert refuse_copies(suite, offline[0] + played[1].examples)[0] < 1


def test_a_number_of_the_evaluation_is_refused(team, reserved):
    task = example_task(Example([], meta=dict(arena=[['config', EVAL_SEED + 7]])))
    job = play(team.place(task), Expert())
    meta = dict(origin='teacher', team='contract', rules=to_dict(team.contract.rules), contract=job.contract)
    meta |= dict(arena=[['config', EVAL_SEED + 7]], wrong_turns=[])
    row = Example(job.messages(), job.tools, behaviour='edit', family='config', meta=meta)
    assert team.guard(Gate(reserved))(row).reason == 'reserved_seed'


def test_pairs_are_in_the_words_of_the_team(offline, team):
    found = Counter()
    for e in of_team(offline[0])[:12]:
        for fault in FAULTS:
            if p := pair(team.task_of(e), fault, [e.id]):
                assert p.tools == e.tools and p.chosen != p.rejected
                names = {t['function']['name'] for t in p.tools}
                assert {c.name for m in [*p.context, p.chosen] for c in m.tool_calls} <= names
                found[fault] += 1
    assert len(found) >= len(FAULTS) // 2, found


def test_the_contract_of_a_trail_with_the_full_rules(tmp_path):
    own = infer_contract(list(read_jobs(ROOT / 'samples' / 'own-history' / 'trail')))
    path = write_contract(own, tmp_path / 'trail.yaml')
    team = open_team(team_contract(str(path)), per_suite=4)
    assert team.contract.rules == FULL
    seeds = family_seeds(('config', 'facts'), each=2)
    wanted = {(s.behaviour, s.family): 2 for s in seeds}
    gate, store = Gate(Reserved(4, more=tuple(team.held)), max_len=4000), tmp_path / 'a.sqlite'
    rows, _, short = team_rows(seeds, wanted, OfflineTeacher(store), gate, team, share=1)
    assert len(of_team(rows)) == len(rows) == 4 and not short
    assert all(e.meta['rules'] == 'full' and 'execution' in e.verified for e in rows)
    assert all('git_log' in {c.name for m in e.messages for c in m.tool_calls} for e in rows)
    short_gate = Gate(Reserved(4), max_len=900)  # no room for the full rules: the team's tools under short ones
    team.counts.clear()
    rows, refused, short = team_rows(seeds, wanted, OfflineTeacher(store), short_gate, team, share=1)
    assert len(rows) == len(of_team(rows)) == 4 and not short
    assert all(e.meta['rules'] == 'short' for e in rows)
    assert {r.reason for r in refused} == {'too_long'} and len(refused) == 4
    assert team.under() == '4 of 4 wanted rows are under the contract (4 with its tools and short rules)'
    team.counts.clear()
    rows, refused, _ = team_rows(seeds, wanted, OfflineTeacher(store), Gate(Reserved(4), max_len=200), team, share=1)
    most = max(team.too_long)
    assert not rows and team.under().startswith('0 of 4 wanted rows are under the contract: its tools and rules make')
    assert f'max_len {most} would do' in team.under() and f'a larger max_len ({most})' in team.remarks()[-1]


DOCS = '''done: {tool: finish, when: after its todos}
rules: {}
tools:
  open_doc: {like: read_file, phases: both, arguments: {doc: path}}
  patch_doc: {like: edit_file, phases: tactical, arguments: {doc: path, before: old_string, after: new_string}}
  save_doc: {like: write_file, phases: tactical, arguments: {doc: path, body: content}}
  plan: {like: next_phase_todos, phases: strategic, arguments: {items: todos}}
  tick: {like: todo_complete, phases: both}
  finish: {like: job_complete, phases: strategic, arguments: {report: summary, files: deliverables}}
'''


def test_an_agent_that_writes_only_while_it_works_gets_its_rows(tmp_path):
    (tmp_path / 'docs.yaml').write_text(DOCS)
    contract = team_contract(str(tmp_path / 'docs.yaml'))
    assert not any('.md' in todo for todo in (*contract.rules.first, *contract.rules.review))
    again = team_contract(str(write_contract(contract, tmp_path / 'again.yaml')))
    assert again.rules == contract.rules
    team, seeds = open_team(contract, per_suite=4), family_seeds(('config', 'facts'), each=2)
    wanted = {(s.behaviour, s.family): 2 for s in seeds}
    gate = Gate(Reserved(4, more=tuple(team.held)), max_len=4000)
    rows, _, short = team_rows(seeds, wanted, OfflineTeacher(tmp_path / 'a.sqlite'), gate, team, share=1)
    assert len(rows) == len(of_team(rows)) == 4 and not short
    assert team.under() == '4 of 4 wanted rows are under the contract'


def test_families_that_need_a_missing_tool_are_left_out_and_named(tmp_path):
    few = {n: TOOLS[n] for n in 'read_file edit_file next_phase_todos todo_complete job_complete'.split()}
    team = open_team(Contract(few, FULL), per_suite=4)
    assert team.held and 'write_file' not in of_offered(team.place(make_task('rename', 1)))
    seeds = family_seeds(('rename', 'compact'), each=2)
    wanted = {(s.behaviour, s.family): 4 for s in seeds}
    store = tmp_path / 'a.sqlite'
    rows, refused, _ = team_rows(seeds, wanted, OfflineTeacher(store), Gate(Reserved(4), max_len=4000), team)
    assert of_team(rows) and not any('write_file' in of_offered(team.task_of(e)) for e in of_team(rows))
    assert any('nothing like write_file' in why for _, why in team.left_out), team.left_out
    assert ': the contract has nothing like write_file (' in ' '.join(team.remarks())
    none = {n: TOOLS[n] for n in ('read_file', 'edit_file')}
    with pytest.raises(ValueError, match='nothing like next_phase_todos, todo_complete, job_complete .* contract none'):
        open_team(Contract(none, SHORT), per_suite=4)


def of_offered(task):
    with Session(task) as s:
        return set(s.contract)


def test_a_contract_that_lacks_a_tool_leaves_those_jobs_in_the_usual_words(tmp_path):
    few = {n: TOOLS[n] for n in 'read_file write_file next_phase_todos todo_complete job_complete'.split()}
    team = replace(open_team(), contract=Contract(few, SHORT))
    seeds = family_seeds(('config',), each=2)
    wanted = {(seeds[0].behaviour, 'config'): 3}
    rows, refused, short = team_rows(seeds, wanted, OfflineTeacher(tmp_path / 'a.sqlite'), Gate(Reserved(4)), team)
    assert len(rows) == 3 and not of_team(rows) and not short
    assert {r.reason for r in refused} == {'not_under_contract'} and 'edit_file' in refused[0].detail


def test_without_a_team_nothing_changes(tmp_path):
    seeds = family_seeds(('config', 'facts'))
    wanted = {(s.behaviour, s.family): 3 for s in seeds}
    a = expand(seeds, wanted, OfflineTeacher(tmp_path / 'a'), Gate(Reserved(4)), start=5)
    b = team_rows(seeds, wanted, OfflineTeacher(tmp_path / 'b'), Gate(Reserved(4)), open_team(), start=5)
    assert [to_dict(e) for e in a[0]] == [to_dict(e) for e in b[0]] and a[2] == b[2]


# ------------------------------------------------------------------ environments

WEB = '''
from pathlib import Path

from agentft.arena.environments import Recorded
from agentft.arena.tasks import Item, Task
from agentft.core.agent import TOOLS


def price(number):
    return 1000 + number * 37 % 991


def web_task(number):
    note = f"part {number}: {price(number)}\\n"
    todo = Item(f"Write the price of part {number} to note.md", [], {"note.md": note})
    told = f"Find out on the web what part {number} costs, and write one line to note.md: part, its number, a colon, the price."
    task = Task("web", number, told, {}, [todo], ["note.md"], "It is in note.md.")
    task.environment = lambda task: Recorded(Path(__file__).parent / "web.jsonl", {"web_search": TOOLS["web_search"]})
    return task
'''


class Searcher(Teacher):
    "Searches, and writes down what it finds; what it does not find it knows by heart."

    name, offline = 'searcher', False

    def __init__(self):
        super().__init__(':memory:')

    def answers(self, questions):
        for q in questions:
            number = int(q.messages[0].content.split('part ')[1].split()[0])
            said = sum(m.role == 'assistant' for m in q.messages)
            note = f'part {number}: {1000 + number * 37 % 991}\n'
            lines = [
                say(tool_call('next_phase_todos', todos=[f'Write the price of part {number} to note.md'])),
                say(tool_call('todo_complete')),
                say(tool_call('web_search', query=f'price of part {number}')),
                say(tool_call('write_file', path='note.md', content=note)),
                say(tool_call('todo_complete')),
                say(tool_call('job_complete', summary='It is in note.md.', deliverables=['note.md'])),
            ]
            yield Answer(self.key(q), self.name, False, {'message': to_dict(lines[said])}, prompt=q.prompt)


def web_file(tmp_path, numbers):
    path = tmp_path / 'web.py'
    path.write_text(WEB)
    with (tmp_path / 'web.jsonl').open('w') as f:
        for n in numbers:
            row = dict(tool='web_search', arguments=dict(query=f'price of part {n}'))
            f.write(json.dumps(row | dict(text=f'Part {n} costs {1000 + n * 37 % 991}.', ok=True)) + '\n')
    return f'{path}:web_task'


def test_recorded_answers_are_played_and_what_was_never_recorded_is_counted(tmp_path):
    first = 100_000
    where = web_file(tmp_path, [n for n in range(first, first + 30) if n % 3] + list(range(10)))
    team = open_team(environment=where, n=30, per_suite=10)
    gate = Gate(Reserved(4, more=tuple(team.held)), tasks=team.tasks, require_execution=True)
    rows, out = environment_rows(team, gate, Searcher(), read_prompts()['play'])
    lost = sum(n % 3 == 0 for n in range(first, first + 30))
    assert len(rows) == 30 - lost and Counter(r.reason for r in out) == dict(never_recorded=lost)
    assert team.counts['answers that were never recorded'] == 2 * lost  # in both plays
    for e in rows:
        assert e.meta['team'] == 'environment' and e.meta['teacher'] == 'searcher' and 'execution' in e.verified
        assert 'web_search' in {t['function']['name'] for t in e.tools}
    unheard = json.loads(json.dumps(to_dict(rows[0])).replace(' costs ', ' cost '))
    assert team.guard(Gate(Reserved(4), tasks=team.tasks))(from_dict(Example, unheard)).reason == 'different_result'
    without, out = environment_rows(team, Gate(Reserved(4), tasks=team.tasks))
    assert not without and {r.reason for r in out} == {'no_expert'}
    assert refuse_copies(environment_tasks(where, 10), rows)[0] < 0.9  # phase 4 has no objection


def test_numbers_of_training_and_evaluation_never_meet(tmp_path):
    where = web_file(tmp_path, range(10))
    asked = {t.seed for seed in (0, 1, 99) for t in environment_tasks(where, 40, seed)}
    trained = {t.seed for seed in (0, 1, 899) for t in training_jobs(where, 40, seed)}
    assert not asked & trained and max(trained) < EVAL_SEED and max(asked) < min(trained)
    with pytest.raises(ValueError, match='seed is 0 to 899'):
        training_jobs(where, 4, 900)


def test_an_environment_that_repeats_its_jobs_gives_no_job_of_the_evaluation(tmp_path):
    where = web_file(tmp_path, range(2000))
    path = Path(where.rpartition(':')[0])
    path.write_text(WEB.replace('def web_task(number):', 'def web_task(number):\n    number %= 20'))
    team = open_team(environment=where, n=20, per_suite=12)
    rows, out = environment_rows(
        team, Gate(Reserved(4, more=tuple(team.held)), tasks=team.tasks), Searcher(), read_prompts()['play']
    )
    assert Counter(r.reason for r in out)['evaluation_task'] == 12 and len(rows) == 8
    with pytest.raises(ValueError, match='hold a job of the evaluation'):
        refuse_copies(environment_tasks(where, 20), rows)  # an evaluation with more jobs than were kept clear of
    assert refuse_copies(environment_tasks(where, 12), rows)[0] < 0.9
