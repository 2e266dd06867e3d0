"Verification in three layers: what each finds, what it leaves alone, and that nothing vanishes."

import json
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentft.arena.catalogue import FAMILIES, make_task
from agentft.arena.environments import TeamEnvironment, act, look
from agentft.arena.players import Expert, play
from agentft.arena.tasks import tool_call
from agentft.arena.toolboxes import disguise, under_contract
from agentft.checks.execution import check_dialogue, check_execution, check_record, check_replay
from agentft.checks.gate import LAYERS, Gate, Reserved
from agentft.checks.judges import QUESTIONS, AskedJudges, OfflineJudges, read_verdict, verdict_problems
from agentft.checks.planted import PLANTED, corrupt
from agentft.checks.rules import RULES, SHAPES, check_rules, rule_problems, untrain
from agentft.core.agent import LEAN, SHORT, TOOLS, tool_schemas
from agentft.core.contracts import Contract
from agentft.core.records import Example, Message, ToolCall, from_dict, to_dict
from agentft.data.seeds import read_seeds, seed_task
from agentft.data.windows import window_example, windows
from agentft.model.chat import ChatFormat
from agentft.model.loading import load_tokenizer

ROOT = Path(__file__).parents[1]
SEEN = [name for name, f in FAMILIES.items() if f.seen]


def row_of(task, /, **meta):
    "A job of the expert, as a row."
    job = play(task, Expert())
    meta = dict(rules='short', arena=[[task.family, task.seed]]) | meta
    if job.contract:
        meta['contract'] = job.contract
    return Example(job.messages(), job.tools, family=task.family, parents=[job.id], meta=meta)


def against(e):
    "Layer -> kinds of what it says against a row."
    found = dict(
        rules=check_rules(e), execution=check_replay(e) or [], judges=verdict_problems(OfflineJudges().verdicts(e))
    )
    return {layer: [p.kind for p in problems] for layer, problems in found.items() if problems}


# a right row passes


@pytest.mark.parametrize('family', SEEN)
@settings(max_examples=3, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(number=st.integers(20_000, 900_000), level=st.integers(1, 2))
def test_a_right_row_of_every_seen_family_passes_all_layers(family, number, level):
    task = make_task(family, number, level)
    e = row_of(task)
    if level > 1:  # what a row says of its task is family and number
        assert not check_rules(e) and not check_execution(e, task)
        return
    assert not against(e), task.instruction


def test_the_starter_seeds_pass_rules_and_execution():
    wrong = {}
    for seed in read_seeds(ROOT / 'seeds')[::7]:
        job = play(seed_task(seed), Expert())
        e = Example(job.messages(), job.tools, family=seed.family, meta=dict(rules='short', seed=to_dict(seed)))
        if found := {k: v for k, v in against(e).items() if k != 'judges'}:
            wrong[seed.id] = found
    assert not wrong


# an error is found

FLOORS = dict(  # lowest share of spoiled rows of held-out families that all layers together find
    wrong_path=0.95,
    wrong_value=0.95,
    broken_schema=0.98,
    half_calls=0.95,
    missing_turn=0.75,
    swapped_result=0.95,
    cut_off=0.98,
    false_success=0.95,
    unmarked_todo=0.98,
    unworked_todo=0.95,
    wrong_phase=0.98,
    invented_fact=0.6,
    wrong_language=0.7,
    other_request=0.95,
    leaked_blueprint=0.8,
    needless_action=0.9,
)


@pytest.fixture(scope='module')
def right_rows():
    "Rows of families that may not be trained on, and what is said against each."
    names = [n for n, f in FAMILIES.items() if not f.seen]
    rows = [row_of(make_task(n, 7000 + k)) for n in names for k in range(2)]
    return [(e, against(e)) for e in rows]


def test_false_alarms_on_families_that_nothing_was_built_on_are_rare(right_rows):
    wrong = [(e.family, found) for e, found in right_rows if found]
    assert len(wrong) <= 0.15 * len(right_rows), wrong
    assert not [found for _, found in wrong if 'execution' in found]


@pytest.mark.parametrize('name', PLANTED)
def test_planted_errors_are_found(right_rows, name):
    found = of = 0
    for e, before in right_rows:
        spoiled = PLANTED[name].spoil(e, random.Random(f'{name}{e.id}'))
        if spoiled is not None and not before and spoiled.messages != e.messages:
            of, found = of + 1, found + bool(against(spoiled))
    assert of >= 2
    assert found / of >= FLOORS[name], f'{found} of {of}'


@pytest.fixture(scope='module')
def recorded():
    "Windows of jobs that are taken for recorded ones, with results cut to fit, and the jobs."
    fmt = ChatFormat(load_tokenizer())
    jobs = {j.id: j for n in ('config', 'rename', 'facts') for j in [play(make_task(n, 7100, 3), Expert())]}
    return [window_example(j, w) for j in jobs.values() for w in windows(j, fmt, 1200) if w.trained], jobs


def test_a_window_is_as_recorded_until_something_in_it_is_changed(recorded, reserved):
    rows, jobs = recorded
    assert len(rows) >= 6 and any('left out' in m.content for e in rows for m in e.messages)
    assert [check_record(e, jobs) for e in rows] == [[]] * len(rows)
    assert check_record(rows[0], {}) is None and check_record(row_of(make_task('config', 3)), jobs) is None
    found = Counter()
    for name in ('wrong_path', 'wrong_value', 'half_calls', 'missing_turn', 'swapped_result', 'unmarked_todo'):
        for e in rows:
            spoiled = PLANTED[name].spoil(e, random.Random(name + e.id))
            if spoiled is not None and spoiled.messages != e.messages:
                found[name, bool(check_record(spoiled, jobs))] += 1
    assert not [k for k in found if not k[1]] and len(found) == 6, found


def test_the_gate_holds_windows_against_their_jobs(recorded, reserved):
    rows, jobs = recorded
    gate = Gate(reserved, jobs=jobs, layers=('execution',))
    spoiled = next(x for e in rows if (x := PLANTED['wrong_path'].spoil(e, random.Random(3))))
    refused = gate(replace(spoiled, id=''))
    assert (refused.layer, refused.reason) == ('execution', 'not_as_recorded')
    good = next(e for e in rows if not e.meta.get('arena'))
    assert gate(good) is None and 'record' in good.verified
    assert Gate(reserved, layers=('execution',))(replace(spoiled, id='')) is None  # nothing to hold it against


def test_each_layer_alone_is_precise_and_finds_what_it_is_for(right_rows):
    rows = [e for e, _ in right_rows]
    spoiled, names = corrupt(rows, 0.5, 1)
    said = [against(e) for e in spoiled]
    for layer, least in dict(rules=0.45, execution=0.6, judges=0.35).items():
        away = [bool(name) for found, name in zip(said, names) if layer in found]
        assert sum(away) / len(away) >= 0.8, (layer, sum(away), len(away))
        assert sum(away) / sum(map(bool, names)) >= least, (layer, sum(away))


def test_a_share_of_a_set_is_spoiled_and_the_same_one_each_time(right_rows):
    rows = [e for e, _ in right_rows]
    spoiled, names = corrupt(rows, 0.2, 3)
    assert sum(map(bool, names)) == round(0.2 * len(rows))
    assert [a is b for a, b in zip(rows, spoiled)] == [not name for name in names]
    again, same = corrupt([from_dict(Example, to_dict(e)) for e in rows], 0.2, 3)
    assert same == names and [e.id for e in again] == [e.id for e in spoiled]
    assert corrupt(rows, 0, 3)[1] == [''] * len(rows) and corrupt([], 0.5, 3) == ([], [])
    assert not [e for e in spoiled if 'planted' in json.dumps(to_dict(e))]  # nothing in a row says that it was spoiled


# the gate


@pytest.fixture(scope='module')
def reserved():
    return Reserved(per_suite=2)


def test_nothing_vanishes_and_each_layer_can_be_switched_off(reserved):
    rows = [row_of(make_task(n, 300 + k)) for n in SEEN[:8] for k in range(2)]
    spoiled, names = corrupt(rows + rows[:2], 0.6, 5)
    for layers in (LAYERS, ('rules',), ('execution',), ('judges',), ()):
        gate = Gate(reserved, max_len=9000, layers=layers)
        out = [gate(from_dict(Example, to_dict(e))) for e in spoiled]
        refused = [r for r in out if r]
        assert gate.came == len(spoiled) == gate.kept + len(refused)
        assert sum(r['rows'] for r in gate.counts()) == gate.came
        assert all(r.layer and r.reason and r.record for r in refused)
        assert {r.layer for r in refused} <= {*layers, 'duplicates', 'evaluation'}
        assert not layers or {r.layer for r in refused} & {*layers}
    assert Counter(r.layer for r in refused)['duplicates'] > 0  # with all layers off, copies are still found


def test_a_row_carries_the_names_of_the_layers_it_passed(reserved):
    names = {}
    for layers in (LAYERS, ('execution',), ()):
        e = row_of(make_task('config', 300))
        assert Gate(reserved, layers=layers)(e) is None
        names[layers] = e.verified
    assert names[LAYERS] == ['rules', 'execution', 'judges', 'no_duplicate', 'not_in_evaluation']
    assert names['execution',] == ['execution', 'no_duplicate', 'not_in_evaluation']
    assert names[()] == ['no_duplicate', 'not_in_evaluation']


def test_a_layer_that_does_not_exist_is_named(reserved):
    with pytest.raises(ValueError, match="no layer 'judge'"):
        Gate(reserved, layers=('judge',))


# shapes


def conversation(shape, *said, tools=('read_file', 'write_file', 'edit_file', 'list_files'), **dialogue):
    "Texts of user and agent in turn; lists of `(name, arguments, result)` are calls of one message."
    out = [Message('system', 'You help with files.')]
    for x in said:
        if isinstance(x, str):
            out.append(Message('user' if out[-1].role in ('system', 'assistant') else 'assistant', x))
            continue
        ids = [f'c{len(out)}-{i}' for i in range(len(x))]
        out.append(Message('assistant', '', [ToolCall(n, a, i) for (n, a, _), i in zip(x, ids)]))
        for (name, _, result), i in zip(x, ids):
            out.append(Message('tool', result, tool_call_id=i, name=name, ok=not result.startswith('Error')))
    turns = [m.content for m in out if m.role == 'user']
    dialogue = dict(tools=list(tools), turns=turns) | dialogue
    return Example(out, tool_schemas(tools, LEAN), meta=dict(shape=shape, dialogue=dialogue))


FILES = {'etc/app.yml': 'port: 8080\nhost: x.example\n', 'etc/use.txt': 'etc/app.yml\n'}
APP = ('read_file', dict(path='etc/app.yml'), 'port: 8080\nhost: x.example')
USE = ('read_file', dict(path='etc/use.txt'), 'etc/app.yml')
SET = ('edit_file', dict(path='etc/app.yml', old_string='8080', new_string='9090'), 'Edited: etc/app.yml (27 bytes)')
CHANGED = {'etc/app.yml': 'port: 9090\nhost: x.example\n'}

GOOD = dict(
    single=conversation('single', 'Which port is in etc/app.yml?', [APP], 'It is 8080.', files=FILES, says=['8080']),
    parallel=conversation('parallel', 'Read etc/app.yml and etc/use.txt.', [APP, USE], 'Port 8080.', files=FILES),
    nested=conversation('nested', 'Read the file that etc/use.txt names.', [USE], [APP], 'Port 8080.', files=FILES),
    chat=conversation(
        'chat',
        'Which port is in etc/app.yml?',
        [APP],
        '8080.',
        'Make it 9090.',
        [SET],
        'Now 9090.',
        files=FILES,
        want=CHANGED,
    ),
    no_action=conversation(
        'no_action', 'Set the port.', 'To which port shall I set it, and in which file?', files=FILES, no_action='ask'
    ),
)


@pytest.mark.parametrize('shape', GOOD)
def test_a_right_conversation_of_every_shape_passes(shape):
    assert not against(GOOD[shape])


EVERY_REASON = 'No: it is unclear which one, that is already done, needs another tool, and is for a later phase. Which?'
BAD = [
    ('not_single', conversation('single', 'Read both.', [USE], [APP], 'Done.', files=FILES)),
    ('no_answer', conversation('single', 'Which port is in etc/app.yml?', [APP], files=FILES)),
    (
        'not_parallel',
        conversation('parallel', 'Read the file that etc/use.txt names.', [USE, APP], 'Done.', files=FILES),
    ),
    ('not_parallel', conversation('parallel', 'Which port is in etc/app.yml?', [APP], 'It is 8080.', files=FILES)),
    ('not_nested', conversation('nested', 'Read etc/use.txt, then etc/app.yml.', [USE], [APP], 'Done.', files=FILES)),
    ('not_chat', conversation('chat', 'Which port is in etc/app.yml?', [APP], '8080.', files=FILES)),
    ('empty_turn', conversation('chat', 'Hello?', '', 'Are you there?', 'Yes.', files=FILES)),
    ('unread_edit', conversation('single', 'Make the port 9090 in etc/app.yml.', [SET], 'Now 9090.', files=FILES)),
    ('changes_something', conversation('no_action', 'Is it 9090?', [APP], [SET], 'It is not.', no_action='nothing')),
    ('says_no_reason', conversation('no_action', 'Set the port.', 'I will do it at once.', no_action='ask')),
    ('says_no_reason', conversation('no_action', 'Set the port.', EVERY_REASON, no_action='missing')),
    ('unknown_reason', conversation('no_action', 'Set the port.', 'No.', no_action='lazy')),
    ('needed_tool_unnamed', conversation('no_action', 'Delete it.', 'I have no tool for that.', no_action='tool')),
    (
        'tool_is_there',
        conversation('no_action', 'Edit it.', 'I have no tool for that.', no_action='tool', needs=['edit_file']),
    ),
    ('leak', conversation('chat', 'The checker wants 9090.', 'Where?', 'In etc/app.yml.', 'I see.', files=FILES)),
]


@pytest.mark.parametrize(('kind', 'e'), BAD, ids=[f'{kind}-{e.meta["shape"]}' for kind, e in BAD])
def test_each_shape_is_held_to_its_rules(kind, e):
    assert kind in [p.kind for p in check_rules(e)]


def test_every_rule_belongs_to_a_shape_and_every_shape_has_rules():
    assert all(set(r.shapes) <= set(SHAPES) and r.kinds and r.about for r in RULES.values())
    assert all(any(shape in r.shapes for r in RULES.values()) for shape in SHAPES)


REPLAYED = [
    ('different_result', lambda e: setattr(e.messages[3], 'content', 'port: 1\nhost: x.example')),
    ('different_prompt', lambda e: setattr(e.messages[1], 'content', 'Which host?')),
    ('different_tools', lambda e: e.meta['dialogue'].update(tools=['read_file'])),
    ('wrong_files', lambda e: e.meta['dialogue'].update(want={'etc/app.yml': ['port: 7070']})),
    ('wrong_files', lambda e: e.meta['dialogue'].update(want={})),
    ('answer_lacks', lambda e: e.meta['dialogue'].update(says=['7070'])),
    ('bad_dialogue', lambda e: e.meta['dialogue'].update(wants={})),
]


@pytest.mark.parametrize(('kind', 'change'), REPLAYED)
def test_a_dialogue_is_replayed_and_its_end_compared(kind, change):
    e = from_dict(Example, to_dict(GOOD['chat']))
    change(e)
    assert [p.kind for p in check_dialogue(e)][:1] == [kind]


def test_a_file_that_is_missing_may_be_looked_for():
    gone = ('read_file', dict(path='b.txt'), 'Error: File not found: b.txt')
    e = conversation(
        'no_action', 'Sum up b.txt.', [gone], 'b.txt is missing. Where is it?', no_action='missing', files=FILES
    )
    assert not against(e)
    e.meta['shape'] = 'single'
    assert [p.kind for p in check_dialogue(e)] == ['call_refused'] and 'failed_call' in against(e)['rules']


# a team's own tools, rules and environment


def test_a_row_under_other_tools_is_replayed_with_them():
    e = row_of(disguise(make_task('config', 5), 2))
    assert {c.name for m in e.messages for c in m.tool_calls}.isdisjoint({'read_file', 'edit_file'})
    assert not against(e)


def test_a_row_under_a_teams_contract_and_rules_is_replayed_under_them():
    tools = dict(TOOLS) | {'mark_done': replace(TOOLS['todo_complete'], name='mark_done', like='todo_complete')}
    del tools['todo_complete']
    rules = replace(SHORT, min_todos=2)
    task = under_contract(make_task('config', 5), Contract(tools, rules))
    fields = {k: list(x) if isinstance(x, tuple) else x for k, x in vars(rules).items()}
    e = row_of(task, rules=json.loads(json.dumps(fields)))
    assert 'mark_done' in {c.name for m in e.messages for c in m.tool_calls}
    assert not against(e)
    assert 'rules' in against(replace(e, meta=e.meta | dict(rules='full')))  # other rules, another verdict


class Stock(TeamEnvironment):
    "A shop with a stock of one thing."

    def start(self, r):
        self.count = r.randint(10, 40)

    def state(self):
        return dict(count=self.count)

    def check(self, state):
        return state['count'] == 50

    @look
    def stock(self) -> int:
        "How many there are."
        return self.count

    @act
    def order(self, pieces: int) -> str:
        "Order more."
        self.count += pieces
        return f'{self.count} in stock'


def test_a_row_of_a_teams_environment_is_replayed_where_its_task_is_given():
    env = Stock(3)
    plan = {'Order what is missing to fifty': [tool_call('stock'), tool_call('order', pieces=50 - env.count)]}
    task = env.task('Fill the stock up to 50.', plan)
    e = row_of(task, task=task.id)
    del e.meta['arena']
    assert check_replay(e) is None  # nothing says what it is
    assert check_replay(e, {task.id: task}) == []
    lie = from_dict(Example, to_dict(e))
    next(m for m in lie.messages if m.name == 'stock').content = '7'
    assert [p.kind for p in check_replay(lie, {task.id: task})] == ['different_result']


# recorded rows


def test_a_call_id_stands_once_in_a_row_and_a_result_answers_its_call():
    e = row_of(make_task('config', 3))
    first, second = [m for m in e.messages if m.tool_calls][:2]
    second.tool_calls[0].id = first.tool_calls[0].id
    assert {'repeated_id', 'strange_answer'} <= {p.kind for p in check_rules(e)}


def test_a_user_is_answered_in_their_own_language():
    asked = 'Bitte sieh nach, welcher Port in der Datei etc/app.yml eingetragen ist.'
    german = conversation(
        'single', asked, [APP], 'In der Datei ist der Port 8080 eingetragen, wie es sein soll.', files=FILES
    )
    english = conversation('single', asked, [APP], 'The port that is written in this file is 8080.', files=FILES)
    short = conversation('single', asked, [APP], 'Port 8080.', files=FILES)
    assert [[p.kind for p in check_rules(e)] for e in (german, english, short)] == [[], ['wrong_language'], []]


def test_what_a_rule_takes_from_a_window_is_context_then():
    e = row_of(make_task('config', 3), window={})
    e.messages[9].tool_calls[0].arguments.pop('path')
    mended = untrain(replace(e, messages=e.messages[:14], weights=e.weights[:14], agent_phase='', id=''))
    assert mended.weights[9] == 0 and mended.meta['wrong_turns'] and not rule_problems(mended)


# judges


def test_an_asked_judge_counts_only_with_a_quote_from_the_row():
    e, asked = row_of(make_task('config', 3)), []

    def ask(requests):
        asked.extend(requests)
        return [
            dict(verdict='no', evidence='etc/import.yml' if 'grounded' in r['prompt'] else 'never said')
            for r in requests
        ]

    judges = AskedJudges(ask)
    said = {v.question: v.verdict for v in judges.verdicts(e)}
    assert said == dict(grounded='no', consistent='unclear', serves='unclear')
    judges.verdicts(e)
    assert [r['prompt'] for r in asked] == [f'judge-{q}' for q in QUESTIONS]  # asked once
    assert all('etc/import.yml' in r['fields']['conversation'] for r in asked)
    for odd in (None, {}, dict(verdict='maybe'), dict(verdict='no'), dict(verdict='no', evidence=7)):
        assert read_verdict(e, 'grounded', odd).verdict == 'unclear'


def test_a_gate_can_have_its_judges_asked(reserved):
    e = row_of(make_task('config', 300))
    gate = Gate(reserved, judges=AskedJudges(lambda rs: [dict(verdict='no', evidence='todo_complete') for _ in rs]))
    refused = gate(e)
    assert (refused.layer, refused.reason) == ('judges', 'not_grounded') and gate.verdicts['serves', 'no'] == 1


ODD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 10**6)
    | st.text(max_size=12)
    | st.sampled_from(['.', '/', '..', 'a/b.md']),
    lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=5), x, max_size=3),
    max_leaves=4,
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(data=st.data(), shape=st.sampled_from([*SHAPES, 'other']))
def test_no_row_breaks_a_layer(data, shape):
    e = from_dict(Example, to_dict(data.draw(st.sampled_from([GOOD['chat'], GOOD['nested'], CONFIG]))))
    e.meta |= dict(shape=shape)
    for m in e.messages:
        for c in m.tool_calls:
            if data.draw(st.booleans()):
                name = data.draw(
                    st.sampled_from(['path', 'content', 'old_string', 'todos', 'summary', 'source', 'new_name'])
                )
                c.arguments[name] = data.draw(ODD)
            c.name = data.draw(st.sampled_from([c.name, 'rename_file', 'write_file', 'nothing']))
    keep = data.draw(st.integers(1, len(e.messages)))
    e = replace(e, messages=e.messages[:keep], weights=e.weights[:keep], id='')
    check_rules(e)
    assert len(OfflineJudges().verdicts(e)) == 3
    for error in PLANTED.values():
        error.spoil(e, random.Random(0))


CONFIG = row_of(make_task('config', 3))
