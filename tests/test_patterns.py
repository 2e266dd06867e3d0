"What to fix first: from jobs to groups, to a ranking, to the budget that phase 2 follows."

import json

import pytest

from agentft.arena.catalogue import make_task
from agentft.arena.faults import FAULTS, Faulty
from agentft.arena.players import Expert, play
from agentft.core.records import Job, Message, Outcome, ToolCall, Turn, from_dict, to_dict, write_jsonl
from agentft.evidence.failures import BEHAVIOUR_OF, MODES, Failure, detect
from agentft.evidence.patterns import (
    JobRow,
    data_budget,
    fix_first,
    group,
    job_row,
    metrics_by_model,
    period_of,
    read_patterns,
    write_patterns,
)
from agentft.workbench.runs import write_result


def fail(job, turn, mode, **kw):
    return Failure(job, turn, mode, 'quote', **kw)


def row(id, ok=True, turns=10, **kw):
    return JobRow(id, outcome=Outcome('success' if ok else 'failed', 'checker'), turns=turns, **kw)


def by_mode(rows):
    return {r['mode']: r for r in rows}


def test_the_cause_stands_above_its_consequences():
    "Ten jobs forget a todo and fail, talking to the end; ten others talk once and succeed."
    rows = (
        [row(f'f{i}', ok=False) for i in range(10)]
        + [row(f't{i}') for i in range(10)]
        + [row(f'c{i}') for i in range(20)]
    )
    failures = [
        x
        for i in range(10)
        for x in (
            fail(f'f{i}', 4, 'todo_not_completed'),
            fail(f'f{i}', 7, 'text_only'),
            fail(f'f{i}', 9, 'no_job_complete'),
        )
    ]
    failures += [fail(f't{i}', 3, 'text_only') for i in range(10)]
    first = fix_first(failures, rows)
    assert first[0]['mode'] == 'todo_not_completed' and first[0]['jobs'] < by_mode(first)['text_only']['jobs']
    assert by_mode(first)['no_job_complete']['first'] == 0 and by_mode(first)['text_only']['excess'] == 0
    assert sum(r['budget'] for r in first) == pytest.approx(1)
    assert max(data_budget(failures, rows).items(), key=lambda x: x[1])[0] == 'todo'


def test_one_unlucky_job_does_not_lead_the_list():
    rows = [row(f'a{i}', ok=i % 2 == 0) for i in range(40)] + [row('one', ok=False)]
    failures = [fail('one', 0, 'empty_turn')] + [fail(f'a{i}', 2, 'failed_edit') for i in range(1, 40, 2)]
    assert [r['mode'] for r in fix_first(failures, rows)] == ['failed_edit', 'empty_turn']


def test_jobs_without_a_known_outcome_count_for_shares_and_not_for_harm():
    rows = [JobRow(f'u{i}', turns=5) for i in range(6)]
    (r,) = fix_first([fail('u0', 0, 'empty_turn')], rows)
    assert (
        r['share'] == pytest.approx(1 / 6)
        and r['failed_first'] is None
        and r['excess'] == 0
        and r['loss'] == pytest.approx(1 / 30)
    )


def test_shares_are_counted_against_the_jobs_that_could_have_it():
    rows = [row(f'a{i}', model='a') for i in range(30)] + [row(f'b{i}', model='b') for i in range(10)]
    g = {
        r['model']: r
        for r in group(
            [fail('a1', 0, 'text_only'), fail('a1', 2, 'text_only'), fail('b1', 0, 'text_only')],
            rows,
            ('mode', 'model'),
        )
    }
    assert (g['a']['times'], g['a']['jobs'], g['a']['of']) == (2, 1, 30) and (g['b']['jobs'], g['b']['of']) == (1, 10)
    assert g['a']['low'] < g['a']['share'] < g['a']['high'] < g['b']['high']


@pytest.mark.parametrize(
    'last, unit', [('2026-03-20', 'day'), ('2026-06-01', 'week'), ('2027-06-01', 'month'), ('nonsense', 'day')]
)
def test_the_period_suits_the_span(last, unit):
    found, when = period_of([JobRow('a', started='2026-03-01T10:00:00Z'), JobRow('b', started=last), JobRow('c')])
    assert found == unit and when[2] == '' and when[0]


def test_a_failure_knows_where_it_stands():
    "Phase, tool and position come from the turn; failures that an older version wrote are still read."
    for mode in FAULTS:
        job = play(make_task('config', 3), Faulty(mode))
        for f in detect(job):
            assert f.agent_phase == job.turns[f.turn].agent_phase and 0 <= f.position <= 1
            assert from_dict(Failure, to_dict(f)) == f
    assert from_dict(Failure, dict(job_id='a', turn=1, mode='text_only')).position == 0
    assert set(BEHAVIOUR_OF) == set(MODES)


def test_known_edits_change_nothing_in_what_is_detected():
    from agentft.core.metrics import job_edits

    job = play(make_task('config', 3), Faulty('whole_file_rewrite'))
    assert detect(job, edits=job_edits(job)[0]) == detect(job) != []


def step(name, ok=True, text='', phase='strategic', said='', **args):
    return Turn(
        phase,
        Message('assistant', said, [ToolCall(name, args, 'c')] if name else []),
        results=[Message('tool', text, tool_call_id='c', name=name, ok=ok)] if name else [],
        agent_phase_number=0 if phase == 'strategic' else 1,
    )


STAGED = step('next_phase_todos', todos=['Write the report now'])


def end(*deliverables, text='Job complete.', ok=True):
    return step('job_complete', ok, text, summary='Done.', deliverables=list(deliverables))


@pytest.mark.parametrize(
    'turns, quote',
    [
        ([end('a.md')], 'no todo was ever staged'),
        ([STAGED, end('a.md')], 'never made'),
        (
            [STAGED, end(text='Phase marked as final. Complete your 3 remaining todo(s) to finish the job.')],
            '3 remaining',
        ),
        ([STAGED, end(ok=False, text='Error: two todos are open.')], 'refused'),
        ([STAGED, end(text='Phase marked as final. Complete your 1 remaining todo(s) to finish the job.')], ''),
        (
            [STAGED, step('run_command', phase='tactical', command='make a.md'), end('a.md')],
            '',
        ),  # a command may have made it
        (
            [
                STAGED,
                step(
                    'job_complete',
                    False,
                    'ERROR: only during a strategic phase',
                    'tactical',
                    summary='x',
                    deliverables=[],
                ),
            ],
            '',
        ),  # a phase violation, not counted twice
    ],
)
def test_early_job_complete(turns, quote):
    found = [f for f in detect(Job('j', 'x', turns=turns)) if f.mode == 'early_job_complete']
    assert bool(found) == bool(quote) and all(quote in f.evidence for f in found)


@pytest.mark.parametrize(
    'turns, hit',
    [
        ([step('read_file', said='The documents/ folder is empty.', path='x')], True),
        (
            [
                step('list_files', path='documents', text='documents is empty.'),
                step('read_file', said='The documents/ folder is empty.', path='x'),
            ],
            False,
        ),
        (
            [
                step('list_files', path='documents', text='Contents of documents:\n\nFiles:\n  documents/a.md'),
                step('read_file', said='There are no files in the documents folder.', path='x'),
            ],
            True,
        ),
        (
            [
                step('get_workspace_summary', text='3 files'),
                step('read_file', said='The directory `documents` is empty.', path='x'),
            ],
            False,
        ),
        (
            [step('run_command', command='ls -R', text=''), step('read_file', said='documents/ is empty', path='x')],
            False,
        ),
        ([step('read_file', said='The list is empty, and the variable cache is empty.', path='x')], False),
        ([step('write_file', path='plan.md', content='- the archive/ directory is empty, skip it')], True),
    ],
)
def test_declared_empty(turns, hit):
    assert any(f.mode == 'declared_empty' for f in detect(Job('j', 'x', turns=turns))) == hit


def test_todo_loops_and_stubs():
    asked = [step('todo_list', phase='tactical', text='Current Todos (0/5)')] * 3
    assert any(f.mode == 'todo_loop' for f in detect(Job('j', 'x', turns=asked)))
    assert not any(
        f.mode == 'todo_loop'
        for f in detect(
            Job(
                'j',
                'x',
                turns=[
                    asked[0],
                    step('read_file', phase='tactical', path='a'),
                    asked[0],
                    step('read_file', phase='tactical', path='b'),
                    asked[0],
                ],
            )
        )
    )
    busy = [
        Turn(
            'tactical',
            Message('assistant', '', [ToolCall('read_file', dict(path=f'{i}'), 'c')]),
            [Message('user', '2 todos are incomplete')],
            [Message('tool', 'x', tool_call_id='c', ok=True)],
            1,
        )
        for i in range(22)
    ]
    assert any(f.mode == 'todo_loop' for f in detect(Job('j', 'x', turns=busy))) and not any(
        f.mode == 'todo_loop' for f in detect(Job('j', 'x', turns=busy[:15]))
    )
    stub = [STAGED, step('write_file', phase='tactical', path='output/r.md', content='# Report\n\n## Risks\n')]

    def modes(turns):
        job = Job('j', 'x', turns=turns, files_after={'output/r.md': '# Report\n\n## Risks\n'})
        return {f.mode for f in detect(job)} & {'skeleton_output', 'untouched_output'}

    assert modes(stub) == {'untouched_output'} and modes([*stub, end('output/r.md')]) == {'skeleton_output'}


def test_figures_of_any_rows_can_be_drawn():
    from agentft.evidence.patterns import plot_metrics, plot_position, plot_rates, plot_trend
    from agentft.workbench.figures import use_style

    plt = use_style()
    jobs = [play(make_task('config', s), Faulty('failed_edit') if s % 2 else Expert()) for s in range(4)]
    found = [f for j in jobs for f in detect(j)]
    rows = [job_row(j, [f for f in found if f.job_id == j.id]) for j in jobs]
    for failures, some in ((found, rows), ([], rows[:1]), ([], [])):
        fig, ax = plt.subplots(4, figsize=(5, 14))
        plot_rates(ax[0], failures, some)
        plot_position(ax[1], failures, some)
        plot_trend(ax[2], failures, some)
        plot_metrics(ax[3], some)
        fig.canvas.draw()
        assert 'no trend' in ax[2].texts[0].get_text()
        plt.close(fig)


def test_the_budget_steers_phase_2(tmp_path):
    "All failures are bad edits; the budget file says otherwise, and wins. Without it the counts are in charge."
    from agentft.evidence.found import find_found

    d = tmp_path / '1-collect'
    d.mkdir()
    jobs = [play(make_task('config', s), Faulty('failed_edit')) for s in (1, 2)]
    failures = [f for j in jobs for f in detect(j)]
    write_jsonl(d / 'jobs.jsonl', jobs)
    write_jsonl(d / 'failures.jsonl', failures)
    write_result(d, 'collect', {})
    found = find_found(str(tmp_path / '2-synthesize'), 'auto')
    assert found.budget == {}
    pairs = {('edit', 'config'): 1, ('todo', 'config'): 1}
    from agentft.data.expansion import quotas

    assert quotas(pairs, found.failed_kinds(), 10, 0) == {('edit', 'config'): 10, ('todo', 'config'): 0}
    write_patterns(d / 'patterns.json', failures, [job_row(j, [f for f in failures if f.job_id == j.id]) for j in jobs])
    edited = json.loads((d / 'patterns.json').read_text())
    edited['budget'] = dict(todo=0.7, edit=0.3)
    (d / 'patterns.json').write_text(json.dumps(edited))
    found = find_found(str(tmp_path / '2-synthesize'), 'auto')
    assert quotas(pairs, found.failed_kinds(), 10, 0, budget=found.budget) == {
        ('edit', 'config'): 3,
        ('todo', 'config'): 7,
    }
    assert quotas(pairs, found.failed_kinds(), 10, 1, budget=found.budget) == {
        ('edit', 'config'): 5,
        ('todo', 'config'): 5,
    }  # an even share of 1 asks nobody


@pytest.mark.parametrize(
    'text, says',
    [
        ('{', 'damaged'),
        ('[]', 'no budget'),
        ('{"v": 2, "budget": {}}', 'newer'),
        ('{"budget": {"todo": 1.5}}', 'from 0 to 1'),
    ],
)
def test_a_bad_budget_file_says_what_is_wrong(tmp_path, text, says):
    (tmp_path / 'p.json').write_text(text)
    with pytest.raises(ValueError, match=says):
        read_patterns(tmp_path / 'p.json')


def test_models_side_by_side():
    rows = []
    for s in range(3):
        for model, p in (('good', Expert()), ('bad', Faulty('forget_todo'))):
            j = play(make_task('config', s), p)
            j.model = model
            rows.append(job_row(j, detect(j)))
    t = {(r['model'], r['metric']): r for r in metrics_by_model(rows)}
    assert (
        t['good', 'task success']['numerator'] == 3
        and t['bad', 'todo completion']['numerator'] == 0
        and t['bad', 'todo completion']['denominator'] == t['good', 'todo completion']['denominator']
    )
    assert rows[0].modes == {} and rows[1].modes['todo_not_completed']
