"Phase 4: the door runs end to end on a tiny random model, goes on after a stop, and claims nothing it cannot show."

import inspect
import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace as N

import pytest

import agentft.phases.evaluate as ev
from agentft.arena.catalogue import EVAL_SEED, FAMILIES
from agentft.arena.players import Expert, play
from agentft.core.agent import SHORT, TOOLS
from agentft.core.contracts import Contract, write_contract
from agentft.core.records import Example, Job, Message, Outcome, Turn, Usage, read_jsonl, write_jsonl
from agentft.data.suites import NEAR, suite_tasks
from agentft.evaluation.standings import (
    difference_rows,
    headline_rows,
    number_rows,
    objective_rows,
    standing_line,
    standings,
)
from agentft.model.loading import tiny_model
from agentft.workbench.recipes import notebook_of
from agentft.workbench.runs import read_result, write_result

SUITES = 'seen,families,nothing'
SMALL = dict(suites=SUITES, jobs_per_suite=3, max_new_tokens=6, max_turns=4, batch=4)
JOBS = 9


def door(**kw):
    f = getattr(ev.evaluate, '__wrapped__', ev.evaluate)
    return f(**SMALL | kw)


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """A run folder whose phase 3 holds a real adapter of the tiny random model. It is drawn with a seed and drowns what
    the model says without it, so that the two never say the same on any machine."""
    import torch
    from peft import LoraConfig, get_peft_model

    folder = tmp_path_factory.mktemp('run')
    d = folder / '3-train'
    model, _ = tiny_model()
    lora = get_peft_model(model, LoraConfig(r=2, target_modules=['down_proj']))
    draw = torch.Generator().manual_seed(0)
    for name, weight in lora.named_parameters():
        if 'lora_' in name:
            weight.data = 30 * torch.randn(weight.shape, generator=draw)
    lora.save_pretrained(d / 'adapter', safe_serialization=True)
    write_result(d, 'train', {}, dict(model='tiny-random'))
    return folder


def test_end_to_end(run):
    out = run / '4-evaluate'
    door(out=str(out))
    res = read_result(out)
    n = res['numbers']
    players = ('base', 'told', 'tuned', 'expert', 'floor', 'floor-marks', 'floor-reads')
    jobs = {k: read_jsonl(out / f'jobs-{k}.jsonl', Job) for k in players}
    tasks = [j.meta['task'] for j in jobs['base']]
    assert len(tasks) == JOBS and all([j.meta['task'] for j in mine] == tasks for mine in jobs.values())
    played = jobs['base'] + jobs['tuned']
    assert all(j.turns and j.turns[0].usage.prompt_tokens > 0 for j in played)
    assert all(j.meta['seed'] >= EVAL_SEED for j in played if j.meta['suite'] != 'nothing')
    said = {k: [j.turns[0].said.content for j in mine] for k, mine in jobs.items()}
    assert said['base'] != said['tuned']  # the adapter was used
    assert {r['suite'] for r in res['summary']} == set(SUITES.split(','))
    marked = [r for r in res['summary'] if r['metric'] == '· marked without work']
    assert len(marked) == 3 and all('floor' in r for r in marked)  # beside todo completion, in every suite
    for suite, s in n['standings'].items():
        won = {k: m['task_success'] for k, m in s['numbers'].items()}
        assert won['expert']['value'] == 1 and won['floor']['value'] == 0 and won['tuned']['denominator'] == 3, suite
        verdict = s['compared']['told']['task_success'].get('verdict', 'not enough evidence')
        assert verdict == 'not enough evidence'
    assert not n['real'] and res['verdict'].startswith('A trial run')  # random weights are no evaluation
    assert not list(out.glob('.*.part.jsonl'))


def test_it_goes_on_after_a_stop(run, tmp_path, monkeypatch):
    whole = run / '4-evaluate'
    if not (whole / 'result.json').exists():
        door(out=str(whole))
    out = tmp_path / '4-evaluate'
    seen = []
    play = ev.Model.play

    def stopped(self, tasks, name, on_job, engine=None):
        def some(job):
            on_job(job)
            seen.append(job.meta['task'])
            if len(seen) == 3:
                raise KeyboardInterrupt

        return play(self, tasks, name, some, engine)

    monkeypatch.setattr(ev.Model, 'play', stopped)
    with pytest.raises(KeyboardInterrupt):
        door(out=str(out), train_dir=str(run / '3-train'))
    assert not (out / 'result.json').exists() and not (out / 'jobs-base.jsonl').exists()
    part = out / '.jobs-base.part.jsonl'
    part.write_text(part.read_text() + '{"id": "torn')  # and the machine went down while writing
    played = []

    def count(self, tasks, name, on_job, engine=None):
        played.append((name, len(tasks)))
        return play(self, tasks, name, on_job, engine)

    monkeypatch.setattr(ev.Model, 'play', count)
    door(out=str(out), train_dir=str(run / '3-train'))
    assert played == [('base', JOBS - 3), ('told', JOBS), ('tuned', JOBS)]
    for k in ('base', 'tuned'):
        a, b = (read_jsonl(d / f'jobs-{k}.jsonl', Job) for d in (whole, out))
        assert [(j.meta['task'], j.turns, j.outcome) for j in a] == [
            (j.meta['task'], j.turns, j.outcome) for j in b
        ]  # as if it had never been stopped
    played.clear()
    door(out=str(out), train_dir=str(run / '3-train'))
    assert not played  # nothing is played twice
    door(out=str(out), train_dir=str(run / '3-train'), max_new_tokens=5)
    assert [n for _, n in played] == [JOBS] * 3  # other limits, other jobs


def test_missing_phase_3(tmp_path):
    (tmp_path / '3-train').mkdir()
    with pytest.raises(FileNotFoundError, match='has not finished'):
        door(out=str(tmp_path / '4-evaluate'))
    write_result(tmp_path / '3-train', 'train', {}, dict(model='tiny-random'))
    with pytest.raises(FileNotFoundError, match='--from train'):
        door(out=str(tmp_path / '4-evaluate'))
    with pytest.raises(ValueError, match='at least 1 job'):
        door(out=str(tmp_path / 'x'), train_dir='none', jobs_per_suite=0)


def test_the_switch_is_recorded_and_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(ev, 'cache_dir', lambda: tmp_path / 'cache')
    small = dict(suites='families', jobs_per_suite=1, players='expert,floor', train_dir='none')
    for k, final in enumerate((False, True, True)):
        out = tmp_path / f'{k}-evaluate'
        door(out=str(out), final=final, **small)
        n = read_result(out)['numbers']
        assert n['final'] == final and n['opened'] == k
        family = read_jsonl(out / 'jobs-expert.jsonl', Job)[0].family
        assert FAMILIES[family].held == ('test' if final else 'development')


@pytest.mark.parametrize('players', ['expert,floor', 'told', 'tuned'])
def test_any_players_have_a_page_and_a_verdict_about_them(players, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv('AGENTFT_PAGES', '1')
    out = tmp_path / '4-evaluate'
    door(out=str(out), players=players, train_dir='none', suites='seen,families', jobs_per_suite=2)
    said = capsys.readouterr()
    assert 'could not be written' not in said.err and (out / 'report.html').exists()
    verdict = read_result(out)['verdict']
    named = {name for name in ev.PLAYERS if name in re.sub(r'\(.*?\)', '', verdict.split(', 4 jobs')[0])}
    assert named == set(players.split(','))
    if players == 'expert,floor':
        assert 'expert 2 of 2, floor 0 of 2' in verdict and 'tiny-random' not in verdict


def of_players(there=None, families=8, **wins):
    "A result of scripted players: of 24 jobs of eight families the first so many succeed, each at 100 tokens."
    tasks = [replace(suite_tasks('seen', 1)[0], id=f't{i}') for i in range(24)]
    turn = Turn('tactical', Message('assistant'), usage=Usage(99, 1))
    jobs = {
        name: [
            Job(
                f'{name}{i}',
                'arena',
                family=f'f{i % families}',
                meta=dict(task=f't{i}'),
                turns=[turn],
                outcome=Outcome('success' if i < n else 'failed', 'checker'),
            )
            for i in range(24)
        ]
        for name, n in wins.items()
    }
    return standings(tasks, jobs, there)


def test_training_seeds_stand_in_the_headline_and_the_page_with_their_counts():
    seeds = {'tuned': 12, 'tuned, seed 1': 5, 'tuned, seed 2': 9}
    stand = of_players(told=0, **seeds)
    row = headline_rows(stand)[0]
    assert row['tuned'].startswith('12, 5 and 9 of 24 (36.1 %; ') and row['tuned'].endswith('3 seeds and 8 families)')
    assert 'tuned, seed 1' not in row and row['verdict'].startswith('not enough evidence: better in 2 of 3 seeds')
    assert row['tuned − told'].count('points') == 3 and row['p'].count(';') == 2
    assert '12, 5 and 9 of 24 (36.1 %;' in standing_line(stand) and 'Seed' not in ev._spread_words(N(standings=stand))
    assert '3 training seeds' in ev._spread_words(N(standings=stand))


def test_the_verdict_leads_with_success_and_never_with_what_giving_up_wins():
    gives_up = standing_line(of_players(told=0, tuned=0, floor=0))
    assert gives_up.startswith('New jobs of families that were trained on: 0 of 24 (0.0 %; ')
    assert 'A script without content ends at least as many right.' in gives_up and 'better' not in gives_up
    wins = standing_line(of_players(told=0, base=0, tuned=24, floor=0))
    assert '24 of 24 (100.0 %; ' in wins.split(':')[1] and 'over 8 families' in wins and ': better.' in wins
    assert 'tokens per job (no job in which both succeed)' in wins
    row = headline_rows(of_players(tuned=3))[0]
    assert row['tuned'].startswith('12.5 % (3/24; ') and 'verdict' not in row


def test_a_number_that_is_better_says_what_takes_its_weight():
    "A script without content does as well, or no job ended right."
    for tuned, said in ((24, 'but a script without content does as well'), (0, 'but no job ended right')):
        s = of_players(told=0, tuned=tuned, floor=0)['seen']
        adheres = replace(s.numbers['tuned']['phase_adherence'], value=1.0)
        for player in ('floor', 'tuned'):
            s.numbers[player]['phase_adherence'] = adheres
        s.compared['told']['phase_adherence'].verdict = 'better'
        verdicts = {row['number']: row['verdict'] for row in difference_rows(s)}
        assert verdicts['phase adherence'].endswith(said) and 'but' not in verdicts['task success'], verdicts


def test_a_suite_with_fewer_jobs_than_were_asked_for_says_so():
    r = N(standings=of_players(told=0, tuned=24), asked=dict(seen=30))
    assert ev._fewer_words(r).startswith('There are fewer jobs than were asked for: 24 of 30 of seen.')
    assert not ev._fewer_words(N(standings=r.standings, asked=dict(seen=24)))


def test_a_suite_of_few_families_says_that_it_is_described_and_not_tested():
    few = of_players(there=dict(seen=7), families=7, told=0, tuned=24)
    row, why = headline_rows(few)[0], 'described, not tested: this suite has 7 families, a test needs 8'
    assert row['verdict'] == why and why in standing_line(few) and row['families'] == 7
    met = {r['metric']: r['met'] for r in number_rows(few['seen'])}['task success']
    assert met.startswith('not shown (10 families if none fails, this suite has 7: not to be shown here; seen 24 in 7')
    some = headline_rows(of_players(there=dict(seen=25), told=0, tuned=24))[0]
    assert some['families'] == '8 of 25' and some['verdict'] == 'better'


def test_a_rung_without_jobs_is_shown():
    tasks = suite_tasks('nothing', 2)
    rows = objective_rows(tasks, dict(expert=[play(t, Expert()) for t in tasks]))
    assert {r['objective'].split(':')[0]: (r['jobs'], r['expert']) for r in rows} == {
        'single': (0, '–'),
        'parallel': (0, '–'),
        'nested': (0, '–'),
        'multi turn': (2, '2/2'),
        'two phase': (0, '–'),
    }


def test_messages_of_the_expert_that_a_model_may_not_write_are_counted():
    tasks = suite_tasks('seen', 4) + suite_tasks('families', 4)
    r = N(tasks=tasks, model='tiny-random', jobs={})
    assert ev._too_long(r, 10_000) == dict(limit=10_000, jobs={})
    r.too_long = ev._too_long(r, 1)
    assert r.too_long['jobs'] == dict(seen=4, families=4)
    r.standings = {s: N(jobs=4) for s in ('seen', 'families')}
    assert ev._too_long_words(r) == (
        'A message of the expert is longer than 1 tokens in 4 of 4 jobs of seen and 4 of 4 jobs of families; '
        'a model has to split its work there.'
    )


def test_tokens_are_compared_with_the_best_prompted_player():
    stand = of_players(told=3, base=9, tuned=24)['seen']
    assert (stand.prompted, stand.fair, stand.against('tokens_per_job')) == ('base', 'told', 'base')
    assert stand.compared['base']['tokens_per_job'].jobs == 9
    assert '· tokens against base, both succeed' in {row['metric'] for row in number_rows(stand)}
    assert of_players(told=3, base=3, tuned=24)['seen'].prompted in ('told', 'base')


def test_a_team_s_contract_makes_a_suite_of_its_own(tmp_path):
    "Named, or taken from phase 1; the jobs are played with its tools, phases and rules, and judged by them."
    swap = replace(TOOLS['edit_file'], name='swap_text', like='edit_file', phases=('tactical',), arguments={})
    tools = {n: t for n, t in TOOLS.items() if n not in ('edit_file', 'move_file')} | dict(swap_text=swap)
    path = write_contract(Contract(tools, replace(SHORT, min_todos=1, finish_todos=True)), tmp_path / 'contract.yaml')
    small = dict(suites='seen', jobs_per_suite=6, players='expert,floor', train_dir='none')
    write_result(tmp_path / 'run' / '1-collect', 'collect', {}, dict(contract=str(path)))
    for out, contract in ((tmp_path / '4-evaluate', str(path)), (tmp_path / 'run' / '4-evaluate', 'auto')):
        door(out=str(out), contract=contract, **small)
        standings = read_result(out)['numbers']['standings']
        assert list(standings) == ['seen', 'contract']
        won = {k: m['task_success']['value'] for k, m in standings['contract']['numbers'].items()}
        assert won['expert'] == 1 and won['floor'] == 0
        mine = [j for j in read_jsonl(out / 'jobs-expert.jsonl', Job) if j.meta['suite'] == 'contract']
        names = {c.name for j in mine for _, c, _ in j.calls()}
        assert 'swap_text' in names and not names & {'edit_file', 'move_file'}
        assert all(j.turns[-1].said.tool_calls[0].name == 'todo_complete' for j in mine)  # as its rules ask
    door(out=str(tmp_path / 'run' / '4-evaluate'), contract='none', **small)
    assert list(read_result(tmp_path / 'run' / '4-evaluate')['numbers']['standings']) == ['seen']
    with pytest.raises(ValueError, match='needs a contract file'):
        door(out=str(tmp_path / 'x'), **small | dict(suites='contract'))


LAMP = """
from agentft.arena.environments import TeamEnvironment, act
from agentft.arena.tasks import tool_call


class Lamp(TeamEnvironment):
    def start(self, r):
        self.now, self.goal = 0, r.randrange(10, 100)

    @act
    def dim(self, percent: int):
        "Set the lamp, from 0 to 100."
        self.now = percent

    def state(self):
        return self.now

    def check(self, state):
        return state == self.goal


def lamp_task(number):
    job = Lamp(number)
    return job.task('Set the lamp to GOAL %.', {'Set the lamp': [tool_call('dim', percent=job.goal)]}, suite=SUITE)
"""


def test_a_team_s_own_environment_is_a_suite_of_its_own(tmp_path, capsys, monkeypatch):
    "From a file: on the page and in the result as all others; only jobs of an older file are played again."
    monkeypatch.setenv('AGENTFT_PAGES', '1')
    file, out = tmp_path / 'lamp.py', tmp_path / '4-evaluate'
    small = dict(suites='seen', jobs_per_suite=2, train_dir='none', out=str(out), environment=f'{file}:lamp_task')
    scripts = small | dict(players='expert,floor')
    file.write_text(LAMP.replace('SUITE', "'lamp'"))
    door(**small | dict(max_new_tokens=6, max_turns=4))
    assert 'could not be written' not in capsys.readouterr().err and '>lamp<' in (out / 'report.html').read_text()
    monkeypatch.delenv('AGENTFT_PAGES')
    kept = read_result(out)['numbers']
    won = {k: m['task_success']['value'] for k, m in kept['standings']['lamp']['numbers'].items()}
    assert won == dict(base=0, told=0, tuned=won['tuned'], expert=1, floor=0)
    (proof,) = (row for row in kept['checkers'] if row['family'] == 'lamp')
    assert proof['holds'] and proof['mutants']
    for more, played in (('', 0), ('# another version', 2)):
        file.write_text(file.read_text() + more)
        door(**scripts)
        assert read_result(out)['numbers']['speed']['expert']['jobs_played'] == played
    door(**scripts | dict(suites='none'))
    assert list(read_result(out)['numbers']['standings']) == ['lamp']
    level = tmp_path / 'level.txt'  # data that an environment begins with
    file.write_text(LAMP.replace('SUITE', "'lamp'").replace('goal = 0', f'goal = int(open({str(level)!r}).read())'))
    for now, played in (('5', 2), ('5', 0), ('6', 2)):
        level.write_text(now)
        door(**scripts | dict(suites='none'))
        assert read_result(out)['numbers']['speed']['expert']['jobs_played'] == played, now
    file.write_text(LAMP.replace('SUITE', "'seen'"))
    with pytest.raises(ValueError, match='seen is a suite of the project'):
        door(**scripts)
    with pytest.raises(ValueError, match="did you mean 'lamp_task'"):
        door(**scripts | dict(environment=f'{file}:lamp_tasks'))


def test_an_environment_is_looked_at_before_anything_is_played(tmp_path):
    "What is wrong in a team's file is said at once; a change in a file beside it makes other jobs."
    file, out = tmp_path / 'mine.py', tmp_path / '4-evaluate'
    small = dict(suites='seen', jobs_per_suite=1, train_dir='none', out=str(out), environment=f'{file}:lamp_task')
    wrong = {
        'def lamp_task(:': 'cannot be loaded: SyntaxError',
        'import no_such_module': "cannot be loaded: ModuleNotFoundError: No module named 'no_such_module'",
        'def lamp_task(number): return 1 / 0': 'makes no job of the number 0: ZeroDivisionError',
        LAMP.replace('SUITE', "''").replace('return self.now', 'return {1, 2}'): 'set is not JSON serializable',
    }
    for text, said in {'': 'has no function', **wrong}.items():
        file.write_text(text)
        with pytest.raises(ValueError, match=re.escape(said)):
            door(**small | dict(players='expert'))
    assert not out.exists() or not list(out.glob('jobs-*'))
    (tmp_path / 'lamp_beside.py').write_text(LAMP.replace('SUITE', "''"))
    file.write_text('from lamp_beside import lamp_task')
    for more, played in (('', 2), ('', 0), ('# another version', 1)):
        (tmp_path / 'lamp_beside.py').write_text((tmp_path / 'lamp_beside.py').read_text() + more)
        door(**small | dict(players='expert'))
        assert read_result(out)['numbers']['speed']['expert']['jobs_played'] == played


def test_a_training_row_that_holds_a_job_ends_the_run(tmp_path):
    "A copy of an evaluation job, planted among the rows of phase 2, and nothing is played."
    two, out = tmp_path / '2-synthesize', tmp_path / '4-evaluate'
    task = suite_tasks('families', 3)[2]
    rows = [Example(play(t, Expert()).messages(), id=t.id) for t in (suite_tasks('seen', 40)[39], task)]
    small = dict(suites='families', jobs_per_suite=3, players='expert', train_dir='none', out=str(out))
    write_result(two, 'synthesize', {}, {})
    write_jsonl(two / 'examples.jsonl', rows)
    with pytest.raises(ValueError, match=f'1 training row of 2 hold a job of the evaluation: {task.id} holds'):
        door(**small)
    assert not list(out.glob('jobs-*')) and not (out / 'result.json').exists()
    write_jsonl(two / 'examples.jsonl', rows[:1])
    door(**small)
    assert 0 <= read_result(out)['numbers']['nearest_training_row'][0] < NEAR


def test_a_suite_may_have_a_number_of_jobs_of_its_own(tmp_path):
    out = tmp_path / '4-evaluate'
    door(out=str(out), players='expert', train_dir='none', suites='seen:4,families', jobs_per_suite=2)
    assert {k: s['jobs'] for k, s in read_result(out)['numbers']['standings'].items()} == dict(seen=4, families=2)
    for bad, said in (('seen:x', 'write seen:48'), ('sen', "did you mean 'seen'"), ('seen:0', 'at least 1 job')):
        with pytest.raises(ValueError, match=said):
            door(out=str(out), players='expert', train_dir='none', suites=bad)


def test_rows_are_looked_for_beside_the_adapter(run, tmp_path):
    "With another folder for the result the adapter's own rows are compared; without any the report says so."
    small = dict(suites='seen', jobs_per_suite=2, players='expert', out=str(tmp_path / 'elsewhere' / '4-evaluate'))
    two, three = tmp_path / 'mine' / '2-synthesize', tmp_path / 'mine' / '3-train'
    shutil.copytree(run / '3-train', three)
    write_result(two, 'synthesize', dict(families=['config', 'insert']), {})
    rows = [
        Example(play(t, Expert()).messages(), id=t.id) for t in suite_tasks('seen', 2, families=('config', 'insert'))
    ]
    write_jsonl(two / 'examples.jsonl', rows)
    with pytest.raises(ValueError, match='2 training rows of 2 hold a job of the evaluation'):
        door(train_dir=str(three), **small)
    shutil.rmtree(two)
    door(train_dir=str(three), **small)
    n = read_result(Path(small['out']))['numbers']
    assert n['nearest_training_row'] is None
    said = ev._newness(N(claims=True, nearest=None, jobs=dict(tuned=[]), opened=0))
    assert '**not checked**' in said and 'not checked' not in ev._newness(
        N(claims=False, nearest=None, jobs={}, opened=0)
    )


def test_notebook_and_function_have_the_same_parameters():
    import papermill as pm

    nb = pm.inspect_notebook(str(notebook_of('evaluate')))
    sig = inspect.signature(getattr(ev.evaluate, '__wrapped__', ev.evaluate)).parameters
    assert {k: (v['inferred_type_name'], v['default']) for k, v in nb.items()} == {
        k: (p.annotation.__name__, repr(p.default)) for k, p in sig.items()
    }


def test_another_checker_plays_the_jobs_again(tmp_path, monkeypatch):
    "Jobs that an older checker judged are not taken over: the code that decides them is part of their fingerprint."
    from agentft.workbench import runs

    library = tmp_path / 'agentft'
    shutil.copytree(Path(runs.__file__).parents[1], library, ignore=shutil.ignore_patterns('__pycache__'))
    monkeypatch.setattr('agentft.__file__', str(library / '__init__.py'))
    before = runs.code_hash('core', 'arena', 'model')
    family = library / 'arena' / 'families' / 'config.py'
    family.write_text(family.read_text() + '\n# another checker\n')
    assert runs.code_hash('core', 'arena', 'model') != before


def test_the_report_says_how_much_an_endpoint_may_write(tmp_path):
    asked = dict(players='expert', train_dir='none', model='auto', suites='', jobs_per_suite=1, batch=2, device='cpu')
    r = N(out=tmp_path)
    where = dict(endpoint='http://localhost:8000/v1', endpoint_model='big')
    players = ev._players(r, N(max_new_tokens=32, **where, **asked))
    assert players['endpoint'].max_new_tokens == 512
    assert 'up to 512 new tokens per answer (local: 32)' in r.names['endpoint']
