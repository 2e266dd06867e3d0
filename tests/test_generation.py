"A simulated model is asked for jobs, mends them, plays them; what is kept was executed, and nothing is lost on the way."

import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parent / 'helpers'))

from canned_teacher import Canned, dialogue_blueprint, job_blueprint, still_blueprint

from agentft.arena.dialogues import SHAPES
from agentft.arena.sessions import Session
from agentft.core.records import Message, from_dict, to_dict
from agentft.data.seeds import BEHAVIOURS, NO_ACTION, Seed, read_seeds, seed_task
from agentft.generation.blueprints import (
    DIALOGUE,
    JOB,
    blueprint_dialogue,
    blueprint_seed,
    check_dialogue_blueprint,
    check_job,
    contradiction,
)
from agentft.generation.plays import Play, agreed
from agentft.generation.wishes import generate, wishes
from agentft.teachers.prompts import read_prompts
from agentft.teachers.questions import Answer, Stopped, Teacher

ROOT = Path(__file__).resolve().parent.parent
VARIETY = yaml.safe_load((ROOT / 'prompts' / 'variety.yaml').read_text())
ALL = dict(job=5, single=1, parallel=1, nested=1, chat=1, no_action=1)


class CannedTeacher(Teacher):
    "The simulated model as a teacher; it counts what it is asked."

    name, offline = 'canned', True

    def __init__(self, store=':memory:', money=10**9, **how):
        super().__init__(store)
        self.model, self.asked, self.money = Canned(**how), Counter(), money

    def answers(self, questions):
        for q in questions:
            if self.money <= 0:
                raise Stopped('the budget is spent')
            self.money -= 1
            self.asked[self.key(q)] += 1
            yield Answer(self.key(q), self.name, True, self.value(q), cost_usd=0.001, prompt=q.prompt)

    def value(self, q):
        first = q.messages[0].content
        if q.schema:
            return self.model.written(first)
        said = sum(m.role == 'assistant' for m in q.messages)
        return {'message': to_dict(self.model.line(first, said, f'{first}{q.number}'))}


def some(n, **more):
    seeds = read_seeds(ROOT / 'seeds')
    return wishes(n, ALL, dict.fromkeys(BEHAVIOURS, 1), VARIETY, seeds=seeds, **more)


@pytest.fixture(scope='module')
def made():
    teacher = CannedTeacher()
    return teacher, generate(some(80), teacher, read_prompts(), lambda e: None)


def test_every_wish_ends_as_a_row_or_with_a_reason(made):
    _, g = made
    assert len(g.examples) + len(g.rejected) == 80 and len(g.left) == len(g.rejected)
    assert all(r.reason and r.detail for r in g.rejected)
    assert len(g.examples) >= 60
    assert {e.meta['shape'] for e in g.examples} == {'job', *SHAPES}
    assert {e.behaviour for e in g.examples} == set(BEHAVIOURS)


def test_a_row_says_where_it_comes_from(made):
    teacher, g = made
    kept = teacher.store.all()
    for e in g.examples:
        assert e.meta['answers'] and set(e.meta['answers']) <= set(kept)
        assert all('@' in prompt for prompt in e.meta['prompts']) and e.meta['teacher'] == 'canned'
        assert e.meta['steps'][0] == 'blueprint' and e.parents
    assert any('repair' in step for e in g.examples for step in e.meta['steps'])
    harder = [e for e in g.examples if 'evolve' in e.meta['steps']]
    assert harder and all(len(e.parents) > 1 for e in harder)


def test_every_kept_job_is_executed_again_with_the_same_results(made):
    _, g = made
    for e in g.examples:
        if e.meta['shape'] != 'job':
            continue
        with Session(seed_task(from_dict(Seed, e.meta['seed']))) as s:
            for m in [m for m in e.messages if m.role == 'assistant']:
                s.step(m)
            assert s.job('again').outcome.status == 'success'
            assert [m.content for m in s.messages] == [m.content for m in e.messages]


def test_no_word_of_the_player_prompt_stands_in_a_row(made):
    _, g = made
    told = read_prompts()['play'].system.splitlines()[0]
    assert not any(told in m.content for e in g.examples for m in e.messages)


def test_nothing_is_asked_twice_and_a_stop_loses_nothing(tmp_path):
    whole = CannedTeacher(tmp_path / 'whole.sqlite')
    expected = generate(some(12), whole, read_prompts(), lambda e: None)
    store, total = tmp_path / 'parts.sqlite', Counter()
    for _ in range(20):
        part = CannedTeacher(store, money=17)
        part.model.scripts, part.model.mended = whole.model.scripts, whole.model.mended
        g = generate(some(12), part, read_prompts(), lambda e: None)
        total += part.asked
        if not g.stopped:
            break
        assert len(g.examples) + len(g.rejected) == 12
    assert not g.stopped and [e.id for e in g.examples] == [e.id for e in expected.examples]
    assert max(total.values()) == 1 and sum(total.values()) == sum(whole.asked.values())


def test_what_the_gate_refuses_is_told_with_its_wish():
    from agentft.data.seeds import Rejected

    g = generate(some(6), CannedTeacher(), read_prompts(), lambda e: Rejected(e.id, 'ugly', source='teacher'))
    assert not g.examples and len(g.left) == 6 and any(r.reason == 'ugly' for r in g.rejected)


@pytest.mark.parametrize('number', range(12))
def test_a_job_whose_result_is_mutated_is_refused(number):
    "A blueprint whose wanted text is left as it was, or whose request and result part ways, does not stand."
    value = job_blueprint('edit', number)
    assert check_job(blueprint_seed(value, 'edit')) == ('', '')
    start = {d['path']: d['text'] for d in value['files']}
    same = [
        t
        | dict(
            results=[
                r | dict(text=start[r['path']]) if r['path'] in start and not r['gone'] else r for r in t['results']
            ]
        )
        for t in value['todos']
    ]
    reason, _ = check_job(blueprint_seed(value | dict(todos=same), 'edit'))
    changes = any(r['path'] in start and not r['gone'] for t in value['todos'] for r in t['results'])
    assert reason or not changes
    lost = value | dict(files=value['files'][1:])
    if value['files'][0]['path'] in {p for todo in value['todos'] for p in todo['reads']}:
        with pytest.raises(ValueError, match='is not there'):
            blueprint_seed(lost, 'edit')


@pytest.mark.parametrize('reason', NO_ACTION)
def test_a_job_without_action_asks_for_something_that_was_looked_up(reason):
    value = still_blueprint(reason, 3)
    assert check_job(blueprint_seed(value, 'tools')) == ('', '')
    guessed = value | dict(question='', answer='')
    assert check_job(blueprint_seed(guessed, 'tools'))[0] == 'no_question'
    told = value | dict(instruction=f'{value["instruction"]} It is {value["answer"]}.')
    assert check_job(blueprint_seed(told, 'tools'))[0] == 'answer_in_request'
    assert check_job(blueprint_seed(value | dict(answer='4711'), 'tools'))[0] == 'answer_nowhere'


@pytest.mark.parametrize('shape', SHAPES)
def test_a_dialogue_of_every_shape_stands_and_a_wrong_one_does_not(shape):
    for number in range(6):
        value = dialogue_blueprint(shape, 'done' if shape == 'no_action' else '', number)
        d = blueprint_dialogue(value, shape)
        assert check_dialogue_blueprint(d, tuple(value['reads'])) == ('', ''), (number, value)
        if d.want:
            same = replace(d, want={p: d.files[p] for p in d.want})
            assert check_dialogue_blueprint(same, tuple(value['reads']))[0]


def test_plays_that_leave_other_files_do_not_agree():
    job = seed_task(Seed('c', 'edit', 'config', 1))
    a, b = Play(job, files={'a.md': 'one\n'}), Play(job, 1, files={'a.md': 'two\n'})
    assert agreed([a, a])[0] is a
    assert agreed([a, b]) == (None, 'plays_disagree')
    assert agreed([replace(a, problems=['not done']), replace(b, error='refusal')]) == (None, 'never_right')


@pytest.mark.parametrize('schema', [JOB, DIALOGUE])
def test_schemas_allow_nothing_else(schema):
    "Structured outputs want every field required and no others."

    def walk(s):
        if s.get('type') == 'object':
            assert s['additionalProperties'] is False and set(s['required']) == set(s['properties'])
            for x in s['properties'].values():
                walk(x)
        if s.get('type') == 'array':
            walk(s['items'])

    walk(schema)


def test_wishes_are_spread_and_the_first_ones_stay_the_same():
    few, many = some(10), some(60)
    assert many[:10] == few
    shapes = Counter(w.shape for w in many)
    assert shapes == dict(job=30, single=6, parallel=6, nested=6, chat=6, no_action=6)
    pairs = Counter((w.domain, w.files) for w in some(300))
    assert max(pairs.values()) <= 6  # no kind of file belongs to one domain


def test_a_message_is_what_a_teacher_said_without_its_thoughts():
    "A teacher's reasoning is no part of a row."

    class Thinks(CannedTeacher):
        def value(self, q):
            out = super().value(q)
            return out if q.schema else {'message': out['message'] | dict(reasoning='the checker wants 45')}

    g = generate(some(3), Thinks(), read_prompts(), lambda e: None)
    assert g.examples and not any(m.reasoning for e in g.examples for m in e.messages)
    assert all(isinstance(m, Message) for e in g.examples for m in e.messages)


def test_an_estimate_counts_three_questions_about_each_judged_row():
    from agentft.generation.wishes import expected_usd

    teacher = SimpleNamespace(estimate=lambda asked: SimpleNamespace(usd=len(asked), usd_max=2 * len(asked)))
    plain, judged = (expected_usd(0, [], teacher, read_prompts(), judged=n) for n in (0, 24))
    assert (judged[0] - plain[0], judged[1] - plain[1]) == (72, 144)


def test_the_estimate_stands_before_own_rows_are_judged(monkeypatch):
    from agentft.phases import synthesize as phase

    done = []
    said = dict.fromkeys('_teacher _read_seeds _gate _ask_teacher _set _write _show'.split())
    said |= dict.fromkeys('ChatFormat load_tokenizer read_forgotten drop_forgotten seed_flow failure_flow'.split())
    for name in said:
        monkeypatch.setattr(phase, name, lambda *args, **how: None)
    nothing = SimpleNamespace(failed_kinds=list)
    monkeypatch.setattr(phase, 'find_found', lambda *args: nothing)
    monkeypatch.setattr(phase, '_of_environment', lambda *args: [])
    monkeypatch.setattr(phase, '_ask_teacher', lambda *args: [])
    monkeypatch.setattr(phase, '_estimate', lambda *args: done.append('estimate'))
    own = SimpleNamespace(examples=[], flows=[])

    def judged(r, *rest):
        done.append('own rows')
        r.own = own

    monkeypatch.setattr(phase, '_own_history', judged)
    p = SimpleNamespace(model='', max_len=1, collect_dir='', trial=0, n_examples=0)
    r = SimpleNamespace(out='', rejected=[])
    phase._synthesize(r, p)
    assert done == ['estimate', 'own rows']


def test_a_second_process_in_the_same_folder_is_told_at_once(tmp_path):
    from agentft.workbench.phases import Phase

    def work(r, p):
        with pytest.raises(RuntimeError, match='another run works in'):
            Phase('synthesize', lambda *x: None, str, list, dict).start(dict(out=str(tmp_path)))

    Phase('synthesize', work, str, list, dict).start(dict(out=str(tmp_path)))
    Phase('synthesize', lambda *x: None, str, list, dict).start(dict(out=str(tmp_path)))


APP = {'a.yaml': 'host: web\nretries: 3\nmode: fast\nmargin: 96\nlimit: 44\n'}


@pytest.mark.parametrize('said', ['Give retries the value 9', 'mode should become slow'])
def test_a_request_that_names_a_key_is_not_met_by_another(said):
    other, own = APP['a.yaml'].replace('web', 'db'), APP['a.yaml'].replace('3\n', '9\n').replace('fast', 'slow')
    assert contradiction(said, APP, {'a.yaml': other})[0] == 'not_as_requested'
    assert contradiction(said, APP, {'a.yaml': own}) == ('', '')
    assert contradiction('Make it faster', APP, {'a.yaml': other}) == ('', '')


def test_a_point_that_is_quoted_is_the_one_that_goes():
    before, said = {'a.md': '- kelp one\n- slate two\n'}, 'drop the point that begins with "slate"'
    assert contradiction(said, before, {'a.md': '- slate two\n'})[0] == 'not_as_requested'
    assert contradiction(said, before, {'a.md': '- kelp one\n'}) == ('', '')


def test_the_value_of_another_key_is_no_answer():
    said = 'How many margin does a.yaml allow'
    assert contradiction(said, APP, APP, 'It is 44')[0] == 'not_as_requested'
    assert contradiction(said, APP, APP, 'It is 96') == ('', '')


@pytest.mark.parametrize(
    'said',
    ['Erase a.md', 'Discard the draft', 'Wipe a.md', 'Eliminate a.md', 'Bitte lösche die Datei a.md', 'Supprime a.md'],
)
def test_a_file_that_was_asked_to_go_may_go(said):
    assert contradiction(said, {'a.md': 'x\n'}, {}) == ('', '')


@pytest.mark.parametrize(
    'said', ['Put the limit into b.md', 'Delete b.md', 'Please look at the limit', 'Call the desk']
)
def test_a_verb_licenses_the_file_that_is_named_only(said):
    assert contradiction(said, {'a.md': 'x\n', 'b.md': 'y\n'}, {'b.md': 'y\n'})[0] == 'not_as_requested'


@pytest.mark.parametrize('reason', ['ask', 'missing', 'tool', 'phase'])
@pytest.mark.parametrize('said', ['Give limit in a.yaml the value 257', 'Delete a.yaml now'])
def test_a_request_that_can_be_carried_out_is_not_refused(said, reason):
    value = dialogue_blueprint('no_action', reason, 1)
    value |= dict(turns=[dict(says=said, answers=False)], files=[dict(path='a.yaml', text=APP['a.yaml'])], reads=[])
    offered = value | dict(tools=['read_file', 'edit_file', 'delete_file'])
    assert check_dialogue_blueprint(blueprint_dialogue(offered, 'no_action'))[0] == 'not_as_requested'
    lacks = value | dict(tools=['read_file'])
    assert check_dialogue_blueprint(blueprint_dialogue(lacks, 'no_action')) == ('', '')
