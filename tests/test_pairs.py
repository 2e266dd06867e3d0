"""Pairs of a better and a worse action: from recorded failures, histories and labelled rows, each checked, each refusal counted."""

import json
from collections import Counter, defaultdict
from dataclasses import replace
from functools import lru_cache
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentft.arena.catalogue import EVAL_SEED, make_task
from agentft.arena.faults import FAULTS, Faulty
from agentft.arena.players import play
from agentft.arena.toolboxes import disguise
from agentft.checks.gate import Gate, Reserved, row_length
from agentft.checks.splits import split_jobs
from agentft.core.agent import check_call, contract_of
from agentft.core.files import Files
from agentft.core.records import (
    Example,
    Job,
    Message,
    Outcome,
    Preference,
    Todo,
    ToolCall,
    Turn,
    from_dict,
    read_jsonl,
    to_dict,
    write_jsonl,
)
from agentft.core.replacements import apply_edits, count_tokens
from agentft.data.windows import offered_to
from agentft.evidence.failures import MODES, Failure, detect
from agentft.evidence.forgotten import Forgotten, Note
from agentft.evidence.found import Found, read_found
from agentft.evidence.memory import compact_pairs
from agentft.history.own_history import OwnRows, is_simulated, join_groups, take_own_history
from agentft.model.chat import ChatFormat
from agentft.model.loading import load_tokenizer
from agentft.pairs.corrections import GIVES, GIVES_NONE, NoPair, corrections
from agentft.pairs.labelled_rows import Unpaired, job_pairs, labelled_rows, read_labelled, write_labelled
from agentft.pairs.own_pairs import own_pairs
from agentft.pairs.pair_checks import VERBOSE, check_pairs, even_lengths, length_rows, length_warning, mode_of
from agentft.pairs.played_pairs import pair
from agentft.phases.collect import collect
from agentft.phases.synthesize import synthesize
from agentft.traces.formats import read_source
from agentft.workbench.recipes import project

AUDIT = project().parent / 'shared' / 'audit' / 'export'
SAMPLES = project() / 'samples' / 'own-history'
MAX_LEN = 1536


@lru_cache
def fmt():
    return ChatFormat(load_tokenizer())


@lru_cache
def reserved():
    return Reserved(per_suite=2)


def corrected(jobs, failures):
    "What each failure gives: pairs, and reasons of those that give none."
    by, pairs, reasons, tools = defaultdict(list), [], Counter(), offered_to(jobs, fmt(), MAX_LEN)
    for f in failures:
        by[f.job_id].append(f)
    for job in jobs:
        for f, made in corrections(job, by[job.id], fmt(), MAX_LEN, tools[job.id]) if by[job.id] else []:
            if isinstance(made, NoPair):
                reasons[f.mode, made.reason] += 1
            else:
                pairs.append(made)
    return pairs, reasons


@pytest.fixture(scope='module')
def monkeypatch_module():
    with pytest.MonkeyPatch.context() as m:
        m.setenv('AGENTFT_PAGES', '0')
        yield m


@pytest.fixture(scope='module')
def sample(tmp_path_factory, monkeypatch_module):
    "Phase 1 on the project's samples."
    out = tmp_path_factory.mktemp('sample') / '1-collect'
    repo, sessions = str(SAMPLES / 'repository.bundle'), str(SAMPLES / 'sessions')
    collect(out=str(out), source=str(SAMPLES / 'trail'), repos=repo, sessions=sessions)
    return out


@pytest.fixture(scope='module')
def audit(tmp_path_factory, monkeypatch_module):
    "Phase 1 on eight jobs of the real agent."
    if not AUDIT.exists():
        pytest.skip('the recorded audit trail lies in ../shared/audit')
    out = tmp_path_factory.mktemp('audit') / '1-collect'
    collect(out=str(out), source=str(AUDIT))
    return read_found(out)


def gate():
    return Gate(reserved(), MAX_LEN, row_length(fmt()))


@pytest.fixture(scope='module')
def run(sample):
    "The samples as phase 2 takes them, and the pairs of them."
    found, first = read_found(sample), gate()
    own = take_own_history(found, first, fmt(), jobs=40, edits=16, memory=4, held_share=0.25)
    return SimpleNamespace(found=found, own=own, rows=own_pairs(found, own, own.examples, first, fmt(), 40))


@pytest.fixture(scope='module')
def played():
    "Jobs of players with one fault each, as they were recorded, and their failures."
    jobs = [play(make_task(family, 50 + n), Faulty(f)) for family in ('config', 'rename') for n, f in enumerate(FAULTS)]
    return jobs, [f for job in jobs for f in detect(job)]


@pytest.fixture(scope='module')
def good(sample, played):
    "Checked pairs of recorded failures: of the samples, and of played jobs."
    found = read_found(sample)
    join_groups(found)
    made = corrected(found.jobs, found.failures)[0] + corrected(*played)[0]
    return check_pairs(made, fmt(), MAX_LEN)[0]


def refusal(p):
    "Why a pair is refused; '' where it is not."
    found = check_pairs([p], fmt(), MAX_LEN)[1]
    return found[0].reason if found else ''


def spoilt(p, **fields):
    return replace(p, id='', **fields)


def test_every_failure_mode_gives_a_pair_or_has_a_reason():
    assert {*GIVES} | {*GIVES_NONE} == {*MODES} and not {*GIVES} & {*GIVES_NONE}


def test_the_real_agents_failures_become_pairs(audit):
    "Eight recorded jobs with known faults: each kind that has a right action in the trail gives one."
    join_groups(audit)
    pairs, reasons = corrected(audit.jobs, audit.failures)
    good, refused = check_pairs(pairs, fmt(), MAX_LEN)
    assert len(pairs) + sum(reasons.values()) == len(audit.failures)
    shown = {mode_of(p) for p in good}
    assert shown >= {
        'ambiguous_edit',
        'blind_edit',
        'empty_turn',
        'phase_violation',
        'plan_loop',
        'text_only',
        'todo_not_completed',
        'todos_refused',
        'unknown_tool',
    }
    assert {x.reason for x in refused} <= {'duplicate_context'}
    by = {mode_of(p): p for p in good}
    marked = [p for p in good if mode_of(p) in ('todo_not_completed', 'plan_loop')]
    assert all([c.name for c in p.chosen.tool_calls] == ['todo_complete'] for p in marked)
    assert by['blind_edit'].chosen.tool_calls[0].name == 'read_file'
    edit, miss = (m.tool_calls[0].arguments for m in (by['ambiguous_edit'].chosen, by['ambiguous_edit'].rejected))
    assert edit['path'] == miss['path'] and edit['old_string'] != miss['old_string']
    text = by['ambiguous_edit'].meta['files'][edit['path']]
    assert text.count(edit['old_string']) == 1 and text.count(miss['old_string']) > 1


def test_the_better_side_is_legal_and_can_be_carried_out(good):
    assert len(good) > 20
    for p in good:
        tools = contract_of(Job('', '', tools=p.tools, contract=p.meta.get('contract', {})))
        assert not [x for c in p.chosen.tool_calls for x in check_call(c, p.agent_phase, tools)]
        assert p.chosen.tool_calls and p.chosen_why and p.rejected_why
        files = Files(p.meta['files'])
        for c in p.chosen.tool_calls:
            if c.name == 'edit_file' and 'position' not in c.arguments and c.arguments['path'] in p.meta['files']:
                (change,) = files.apply(c, Message('tool', ok=True))
                assert change.why == '' and change.after is not None


def test_the_edit_in_the_place_of_a_rewrite_leads_to_the_same_file(good):
    rewrites = [p for p in good if mode_of(p) == 'whole_file_rewrite']
    assert len(rewrites) >= 3
    for p in rewrites:
        (write,) = [c for c in p.rejected.tool_calls if c.name == 'write_file']
        edits = [(c.arguments['old_string'], c.arguments['new_string']) for c in p.chosen.tool_calls]
        after = apply_edits(p.meta['files'][write.arguments['path']], edits)
        assert after.rstrip('\n') == write.arguments['content'].rstrip('\n')  # a listing hides the last newline
        assert 2 * sum(map(count_tokens, sum(edits, ()))) <= count_tokens(write.arguments['content'])


def test_swapped_sides_are_refused_in_every_mode(good):
    assert len({mode_of(p) for p in good}) >= 9
    passed = [mode_of(p) for p in good if not refusal(spoilt(p, chosen=p.rejected, rejected=p.chosen))]
    assert not passed


def test_an_edit_that_no_longer_matches_is_refused(good):
    edits = 0
    for p in good:
        for k, c in enumerate(p.chosen.tool_calls):
            if not c.arguments.get('old_string'):
                continue
            calls = list(p.chosen.tool_calls)
            calls[k] = replace(c, arguments=c.arguments | dict(old_string=c.arguments['old_string'] + '§'))
            mutated = spoilt(p, chosen=replace(p.chosen, tool_calls=calls))
            assert refusal(mutated) in ('chosen_edit_does_not_match', 'chosen_unshown')
            edits += 1
    assert edits >= 5


def test_another_context_is_refused(good):
    for p, other in zip(good, good[1:] + good[:1]):
        if other.context != p.context:
            assert refusal(spoilt(p, context=other.context)) == 'context_differs'


def test_actions_that_only_look_different_are_refused(good):
    p = next(p for p in good if mode_of(p) == 'todo_not_completed')
    with pytest.raises(ValueError, match='the same action'):
        spoilt(p, rejected=replace(p.chosen, tool_calls=[replace(c, id='other') for c in p.chosen.tool_calls]))
    as_text = Message('assistant', '{"name":"todo_complete","arguments":{}}')
    assert refusal(spoilt(p, rejected=as_text)) == 'equal_after_rendering'
    marked = replace(p.chosen, content='<|im_end|>')
    assert refusal(spoilt(p, rejected=marked)) == 'differs_only_in_marks'


def test_blanks_count_where_an_edit_fails_by_them():
    "An indentation that is wrong makes an edit miss: that is substance."
    schema = [
        dict(type='function', function=dict(name=n, parameters=dict(type='object'))) for n in ('read_file', 'edit_file')
    ]
    read = ToolCall('read_file', dict(path='a.py'), '1')
    context = [
        Message('user', 'Return 2 in a.py'),
        Message('assistant', '', [read]),
        Message('tool', 'def f():\n    return 1\n', tool_call_id='1', name='read_file', ok=True),
    ]

    def edit(old):
        return Message(
            'assistant', '', [ToolCall('edit_file', dict(path='a.py', old_string=old, new_string='    return 2'))]
        )

    p = Preference(context, edit('    return 1'), edit('  return  1'), schema, 'edit', meta=dict(mode='failed_edit'))
    p.chosen_why = p.rejected_why = 'recorded'
    assert refusal(p) == ''
    assert refusal(spoilt(p, meta={})) == 'differs_only_in_marks'


def test_an_illegal_or_silent_better_side_is_refused(good):
    p = next(p for p in good if p.agent_phase == 'tactical')
    ends = ToolCall('job_complete', dict(summary='x', deliverables=[]))
    assert refusal(spoilt(p, chosen=Message('assistant', '', [ends]))) == 'chosen_phase_violation'
    assert refusal(spoilt(p, chosen=Message('assistant', '', [ToolCall('finish', {})]))) == 'chosen_unknown_tool'
    assert refusal(spoilt(p, chosen=Message('assistant', 'Done.'))) == 'chosen_without_call'
    broken = ToolCall('read_file', malformed='{"path": ')
    assert refusal(spoilt(p, chosen=Message('assistant', '', [broken]))) == 'chosen_malformed_arguments'
    assert refusal(spoilt(p, rejected_why='')) == 'no_evidence'


def test_a_template_that_changes_the_context_or_hides_the_difference_is_found(good):
    class Forgetful(ChatFormat):
        "Writes of each call its name alone."

        def pieces(self, messages, tools=None):
            bare = [replace(m, tool_calls=[ToolCall(c.name) for c in m.tool_calls]) for m in messages]
            yield from super().pieces(bare, tools)

    class Restless(ChatFormat):
        "Writes the number of messages at the beginning."

        def pieces(self, messages, tools=None):
            yield f'{len(messages)} messages', 'text', 0
            yield from super().pieces(messages, tools)

    p = next(p for p in good if mode_of(p) == 'failed_edit' and p.chosen.tool_calls[0].name == 'edit_file')
    assert check_pairs([p], Forgetful(load_tokenizer()))[1][0].reason == 'equal_after_rendering'
    assert check_pairs([p], Restless(load_tokenizer()))[1][0].reason == 'context_not_a_prefix'


def test_long_doubled_and_held_out_pairs_are_refused(good):
    p = good[0]
    assert check_pairs([p], fmt(), max_len=sum(p.meta['tokens'][:2]) - 1)[1][0].reason == 'too_long'
    ok, (twin,) = check_pairs([p, spoilt(p, chosen_why='again')], fmt(), MAX_LEN)
    assert len(ok) == 1 and twin.reason == 'duplicate_context'
    assert check_pairs([p], fmt(), held={p.parents[0]})[1][0].reason == 'held_out_job'
    of_evaluation = [pair(make_task('config', EVAL_SEED + 3), 'text_only'), pair(make_task('notes', 3), 'text_only')]
    of_evaluation[0].meta['arena'] = [['config', EVAL_SEED + 3]]
    refused = check_pairs(of_evaluation, fmt(), reserved=reserved())[1]
    assert [x.reason for x in refused] == ['reserved_seed', 'held_out_family']


def test_a_right_action_that_rests_on_a_later_result_gives_no_pair():
    "The corrected edit copies a text that only the reading in between has shown: the reading is the better side."
    tools = [
        dict(type='function', function=dict(name=n, parameters=dict(type='object'))) for n in ('read_file', 'edit_file')
    ]
    edit = ToolCall('edit_file', dict(path='a.txt', old_string='port 80', new_string='port 81'), '1')
    read = ToolCall('read_file', dict(path='a.txt'), '2')
    right = ToolCall('edit_file', dict(path='a.txt', old_string='port: 80', new_string='port: 81'), '3')

    def turn(call, answer, ok=True, seen=()):
        result = Message('tool', answer, tool_call_id=call.id, name=call.name, ok=ok)
        return Turn('', Message('assistant', '', [call]), list(seen), [result])

    ask = Message('user', 'Change the port in a.txt to 81')
    turns = [
        turn(edit, 'Error: not found in a.txt', False, [ask]),
        turn(read, 'name: x\nport: 80\n'),
        turn(right, 'Edited'),
    ]
    job = Job('j', 'openai', tools=tools, turns=turns, outcome=Outcome('success', 'checker', 1.0))
    ((_, p),) = corrections(job, [f for f in detect(job) if f.mode == 'failed_edit'], fmt(), MAX_LEN)
    assert p.chosen.tool_calls[0].name == 'read_file'
    seen = turn(read, 'name: x\nport: 80\n', seen=[ask])
    job = replace(job, turns=[seen, replace(turns[0], seen=[]), *turns[1:]])
    ((_, p),) = corrections(job, [f for f in detect(job) if f.mode == 'failed_edit'], fmt(), MAX_LEN)
    assert p.chosen.tool_calls[0].arguments['old_string'] == 'port: 80'


def test_a_wrong_action_that_took_effect_gives_no_pair(played):
    jobs, failures = played
    _, reasons = corrected(jobs, failures)
    assert reasons['early_job_complete', 'took_effect']
    assert {mode for mode, why in reasons if why == 'no_pair_of_this_mode'} <= {*GIVES_NONE}


def test_the_tool_of_a_team_is_called_by_its_name_and_gets_notes():
    "Renamed tools: both sides speak the team's words. A `todo_complete` that takes notes gets what was done."
    task = disguise(make_task('config', 3, formed=False), vocabulary=0)
    for fault, like in (('whole_file_rewrite', 'edit_file'), ('forget_todo', 'todo_complete')):
        job = play(task, Faulty(fault))
        names = {t.like: name for name, t in contract_of(job).items() if t.like}
        pairs = [p for _, p in corrections(job, detect(job), fmt(), MAX_LEN) if not isinstance(p, NoPair)]
        p = next(p for p in pairs if p.behaviour in ('edit', 'todo'))
        assert [c.name for c in p.chosen.tool_calls] == [names.get(like, like)]
        assert refusal(p) == ''
    job = play(make_task('config', 3, formed=False), Faulty('forget_todo'))
    for t in job.tools:
        if t['function']['name'] == 'todo_complete':
            t['function']['parameters']['properties']['notes'] = dict(type='string')
    p = next(p for _, p in corrections(job, detect(job), fmt(), MAX_LEN) if not isinstance(p, NoPair))
    (path,) = [c.arguments['path'] for m in p.context for c in m.tool_calls if c.name == 'edit_file']
    assert p.chosen.tool_calls[0].arguments == dict(notes=f'Edited {path}') and refusal(p) == ''


LONG = (
    '# Decisions\n- Decided: prices come from config/prices.toml.\n- Rounding: half up, 2 digits.\n\n# Log\n'
    + ''.join(f'- Looked at page {n} of the handbook once more\n' for n in 'abcdefghij')
)
SHORT = '# Decisions\n- Decided: prices come from config/prices.toml.\n- Rounding: half up, 2 digits.\n'


def memory_job(short=SHORT):
    "An agent that writes a long note, works, and writes it again in short."
    tools = [
        dict(type='function', function=dict(name=n, parameters=dict(type='object')))
        for n in ('read_file', 'write_file')
    ]

    def turn(call, answer, seen=()):
        result = Message('tool', answer, tool_call_id=call.id, name=call.name, ok=True)
        return Turn('tactical', Message('assistant', '', [call]), list(seen), [result], 1)

    ask = 'Keep workspace.md. Prices come from config/prices.toml, rounding is half up, 2 digits.'
    turns = [
        turn(ToolCall('write_file', dict(path='workspace.md', content=LONG), 'a'), 'Written', [Message('user', ask)]),
        turn(ToolCall('read_file', dict(path='plan.md'), 'b'), 'The plan.'),
        turn(ToolCall('write_file', dict(path='workspace.md', content=short), 'c'), 'Written'),
    ]
    todo = Todo('1_todo_1', 'Keep the memory compact', staged_turn=None)
    outcome = Outcome('success', 'checker', 1.0)
    return Job('memo', 'export', ask, ask, tools=tools, turns=turns, todos=[todo], outcome=outcome)


def memory_pairs(job):
    found = Found('phase 1', [job], [], [], compact_pairs(job))
    return own_pairs(found, OwnRows(), [], gate(), fmt(), 4)


def test_a_recorded_note_that_was_shortened_later_gives_a_pair_with_the_same_facts():
    out = memory_pairs(memory_job())
    (p,) = out.pairs
    assert mode_of(p) == VERBOSE and p.behaviour == 'compact' and p.meta['turn'] == 0
    long, short = (m.tool_calls[0].arguments['content'] for m in (p.rejected, p.chosen))
    assert (long, short) == (LONG, SHORT)
    assert refusal(spoilt(p, chosen=p.rejected, rejected=p.chosen)) in ('fact_lost', 'hardly_shorter')
    for change, reason in [
        (SHORT.replace('- Rounding: half up, 2 digits.\n', ''), 'fact_lost'),
        (SHORT.replace('2 digits', '3 digits'), 'fact_lost'),
        (SHORT + '- Tax: 19 % since 2024.\n', 'fact_invented'),
        (LONG[:-20], 'hardly_shorter'),
    ]:
        call = replace(p.chosen.tool_calls[0], arguments=dict(path='workspace.md', content=change))
        assert refusal(spoilt(p, chosen=replace(p.chosen, tool_calls=[call]))) == reason


def test_a_short_note_with_later_facts_gives_no_pair():
    out = memory_pairs(memory_job(SHORT + '- See docs/tax.md.\n'))
    assert not out.pairs and {x.reason for x in out.rejected} == {'fact_invented'}


def test_a_run_of_the_samples_is_accounted_for(run):
    rows = run.rows
    assert len(rows.pairs) == 40
    for flow in rows.flows:
        assert flow.came == flow.kept + flow.held_out + sum(flow.reasons.values())
    of_failures = next(flow for flow in rows.flows if flow.kind == 'failures')
    assert of_failures.came == len(run.found.failures) and of_failures.kept >= 8
    origins = Counter(r['origin'] for r in rows.by_mode() for _ in range(r['pairs']))
    assert origins['recorded jobs'] >= 8 and origins['git and session edits'] >= 3
    most = max(Counter(p.behaviour for p in rows.pairs).values())
    assert most <= 16  # 0.4 of 40
    assert len({json.dumps(to_dict(p.context)) for p in rows.pairs}) == 40
    assert all(x.source == 'pairs' and x.reason for x in rows.rejected)


def test_no_pair_comes_from_a_held_out_job(run):
    assert run.own.held_jobs
    held = run.own.held_jobs | {j.meta['group'] for j in run.found.jobs if j.id in run.own.held_jobs}
    assert not [p for p in run.rows.pairs if held & {*p.parents}]
    shown = {m.content for r in run.own.references for m in r.messages[1:2]}
    assert not [p for p in run.rows.pairs if p.meta.get('turn') is not None and p.context[1].content in shown]


def test_the_same_pairs_come_again(run):
    again = own_pairs(run.found, run.own, run.own.examples, gate(), fmt(), 40)
    assert [to_dict(p) for p in again.pairs] == [to_dict(p) for p in run.rows.pairs]


def test_pairs_follow_the_side_of_their_job(run):
    split_jobs(run.own.examples + run.rows.pairs, 0.3)
    side = {}
    for r in run.own.examples + run.rows.pairs:
        for parent in r.parents:
            assert side.setdefault(parent, r.split) == r.split
    assert all(p.split == 'train' for p in run.rows.pairs if 'window' in p.meta)


def test_no_behaviour_takes_more_than_its_share(run):
    small = own_pairs(run.found, run.own, run.own.examples[:6], gate(), fmt(), 10, most_share=0.2).pairs
    assert max(Counter(p.behaviour for p in small).values()) == 2
    with pytest.raises(ValueError, match='most_share'):
        own_pairs(run.found, run.own, [], gate(), fmt(), 10, most_share=0)


def test_pairs_survive_a_file(run, tmp_path):
    write_jsonl(tmp_path / 'preferences.jsonl', run.rows.pairs)
    back = read_jsonl(tmp_path / 'preferences.jsonl', Preference)
    assert [to_dict(p) for p in back] == [to_dict(p) for p in run.rows.pairs]
    assert len(check_pairs(back, fmt(), MAX_LEN)[0]) == len(back)


def test_one_sided_lengths_are_said_and_can_be_evened(good):
    shorter = [p for p in good if p.meta['tokens'][1] < p.meta['tokens'][2]]
    longer = [p for p in good if p.meta['tokens'][1] > p.meta['tokens'][2]]
    assert len(shorter) >= 10 and len(longer) >= 4
    rows = length_rows(shorter, fmt())
    assert rows[-1]['chosen_shorter'] == rows[-1]['pairs'] and rows[-1]['median_difference'] < 0
    assert 'The better side is shorter in 100.0 %' in length_warning(rows)
    mixed = shorter + longer[:4]
    kept, dropped = even_lengths(mixed, fmt(), most=0.5)
    assert len(kept) == 8 and len(kept) + len(dropped) == len(mixed) and not length_warning(length_rows(kept, fmt()))
    assert {x.reason for x in dropped} == {'length_balance'}
    assert even_lengths(shorter, fmt()) == (shorter, [])


def row(*messages, label=None, **more):
    return dict(messages=list(messages), **more) | (dict(label=label) if label else {})


def wrote(path, rows):
    write_jsonl(path, rows)
    return read_labelled(path)


ASK = dict(role='user', content='Complete the task: Write unit tests for auth module')
WORK = dict(
    role='assistant',
    content="I'll write the tests now.",
    tool_calls=[dict(name='write_file', arguments=dict(path='tests/test_auth.py', content='def test_login(): ...'))],
)
DONE = dict(role='tool', content='Tests written successfully')
MARK = dict(
    role='assistant', content=None, tool_calls=[dict(name='todo_complete', arguments=dict(notes='Added 5 tests'))]
)


def test_the_guides_rows_become_pairs(tmp_path):
    "The guide's own example: the same conversation with todo_complete, without it, and with words instead."
    words = dict(role='assistant', content='The tests are written.')
    rows = [
        row(ASK, WORK, DONE, MARK),
        row(ASK, WORK, DONE, label='rejected'),
        row(ASK, WORK, DONE, words, label='rejected'),
    ]
    read = wrote(tmp_path / 'rows.jsonl', rows)
    assert [p.chosen.tool_calls[0].name for p in read.pairs] == ['todo_complete'] * 2
    assert [(p.rejected.content, len(p.context)) for p in read.pairs] == [('', 3), ('The tests are written.', 3)]
    assert not read.unpaired and len(read.examples) == 1 and not read.bad
    assert labelled_rows([*read.pairs, *read.examples]) == rows
    good, refused = check_pairs(read.pairs, fmt(), MAX_LEN)
    assert len(good) == 1 and refused[0].reason == 'duplicate_context'


def test_rows_part_at_the_first_difference_and_only_at_an_answer(tmp_path):
    other = dict(role='tool', content='Error: no folder tests')
    rows = [
        row(ASK, WORK, DONE, MARK),
        row(ASK, WORK, other, MARK, label='rejected'),  # another result: not the same conversation
        row(ASK, dict(role='assistant', content='No.'), label='rejected'),
        row(ASK, WORK, DONE, MARK, dict(role='tool', content='ok'), WORK, label='rejected'),  # the good one just ends
        row(ASK, WORK, DONE, label='rejected', tools=[dict(name='todo_complete')]),  # other tools
    ]
    read = wrote(tmp_path / 'rows.jsonl', rows)
    assert [p.meta['rows'] for p in read.pairs] == [[1, 3]] and len(read.pairs[0].context) == 1
    assert [u.meta['rows'] for u in read.unpaired] == [[2], [4], [5]]
    assert [u.said is None for u in read.unpaired] == [False, False, True]
    assert labelled_rows([*read.pairs, *read.unpaired, *read.examples]) == rows


def test_a_rejection_is_never_read_as_an_example(tmp_path):
    read = wrote(tmp_path / 'rows.jsonl', [row(ASK, WORK, label='rejected')])
    (alone,) = read.unpaired
    assert from_dict(Unpaired, to_dict(alone)) == alone
    with pytest.raises(ValueError, match='unknown field'):
        from_dict(Example, to_dict(alone))


def test_openai_rows_are_read_and_bad_ones_are_counted(tmp_path):
    call = dict(id='c1', type='function', function=dict(name='read_file', arguments='{"path": "a"}'))
    nested = row(
        ASK, dict(role='assistant', content='', tool_calls=[call]), dict(role='tool', tool_call_id='c1', content='x')
    )
    bad = [3, row(), row(ASK), row(WORK, label='maybe'), row(dict(role='robot', content='x')), row(WORK, tools=[{}])]
    read = wrote(tmp_path / 'rows.jsonl', [nested, *bad])
    (e,) = read.examples
    assert (
        e.messages[1].tool_calls == [ToolCall('read_file', dict(path='a'), 'c1')] and e.messages[2].tool_call_id == 'c1'
    )
    assert read.bad == {
        'no object': 1,
        'no messages': 1,
        'no assistant message': 1,
        'unknown label': 1,
        'unknown role': 1,
        'a tool has no name': 1,
    }
    assert labelled_rows(read.examples) == [nested]


def test_openai_rows_are_written_as_they_were_read(tmp_path):
    def said(path):
        function = dict(name='read_file', arguments=json.dumps(dict(path=path), ensure_ascii=False))
        return dict(role='assistant', content='', tool_calls=[dict(id='c1', type='function', function=function)])

    other = dict(role='assistant', content=None, tool_calls=[dict(name='read_file', arguments='{"path": "c"}')])
    rows = [row(ASK, said('ä')), row(ASK, said('b'), label='rejected'), row(ASK, other, label='rejected')]
    rows.append(row(dict(role='user', content='Alone'), said('d'), label='rejected'))
    read = wrote(tmp_path / 'rows.jsonl', rows)
    assert (len(read.pairs), len(read.unpaired), len(read.examples)) == (2, 1, 1)
    assert labelled_rows([*read.pairs, *read.unpaired, *read.examples]) == rows


def test_a_forgotten_row_takes_its_rejected_side_along():
    good, bad, other = (Job(id, 'openai') for id in ('c7', 'c7#rejected', 'c70'))
    assert [Forgotten([Note('c7')]).has(j) for j in (good, bad, other)] == [True, True, False]


TEXT = st.text(alphabet='ab "{}\\\n\u2028é', max_size=6)
CALLS = st.lists(
    st.builds(
        lambda n, a: dict(name=n, arguments=a), st.sampled_from(['r', 'w']), st.dictionaries(TEXT, TEXT, max_size=2)
    ),
    max_size=2,
)
ANSWER = st.builds(
    lambda t, c: dict(role='assistant', content=t or None) | (dict(tool_calls=c) if c else {}), TEXT, CALLS
)
OTHER = st.builds(lambda r, t: dict(role=r, content=t), st.sampled_from(['user', 'tool', 'system']), TEXT)
ROWS = st.lists(
    st.builds(
        lambda ms, a, more, rejected: row(*ms, a, *more, label='rejected' if rejected else None),
        st.lists(OTHER, max_size=1),
        ANSWER,
        st.lists(OTHER | ANSWER, max_size=2),
        st.booleans(),
    ),
    max_size=8,
)


@settings(max_examples=150, deadline=None)
@given(ROWS)
def test_rows_come_back_as_they_were(tmp_path_factory, rows):
    "Any rows of the guide's shape: what is not bad comes back, in its order, with its label."
    path = tmp_path_factory.mktemp('rows') / 'rows.jsonl'
    read = wrote(path, rows)
    good = [r for r in rows if 'label' not in r]
    readable = [r for r in rows if 'label' not in r or r['messages'] not in [g['messages'] for g in good]]
    assert labelled_rows([*read.pairs, *read.unpaired, *read.examples]) == readable
    assert len(read.pairs) + len(read.unpaired) + len(read.examples) + sum(read.bad.values()) == len(rows)
    for p in read.pairs:
        assert p.meta.get('ended') or p.rejected.role == p.chosen.role == 'assistant'


def test_own_pairs_are_written_as_rows_and_read_back(run, tmp_path):
    "Both sides of every pair survive, whatever contexts begin alike."
    write_labelled(tmp_path / 'rows.jsonl', run.rows.pairs)
    read = read_labelled(tmp_path / 'rows.jsonl')
    assert not read.bad and not read.unpaired

    def sides(p):
        return [
            [(m.content, [(c.name, c.arguments, c.malformed) for c in m.tool_calls]) for m in (p.chosen, p.rejected)]
        ]

    assert sorted(map(repr, map(sides, read.pairs))) == sorted(map(repr, map(sides, run.rows.pairs)))


def test_simulated_and_recorded_failures_meet_in_one_run(played):
    jobs, failures = played
    assert all(map(is_simulated, jobs))
    found = Found('phase 1', jobs, failures)
    out = own_pairs(found, OwnRows(), [], gate(), fmt(), 30)
    assert len(out.pairs) >= 12 and all(p.meta['arena'][0][0] in ('config', 'rename') for p in out.pairs)
    assert not own_pairs(found, OwnRows(), [], gate(), fmt(), 0).pairs


KEYS = dict(
    nginx='worker_connections keepalive_timeout',
    mailer='retry_limit sender_address',
    backup='retention_days target_folder',
    search='shard_count refresh_seconds',
    billing='invoice_prefix tax_percent',
    camera='frame_rate exposure_millis',
    archive='chunk_megabytes hash_rounds',
    beacon='ping_minutes region_code',
)
TOOLS = [
    dict(type='function', function=dict(name=name, description=f'{name} of a file', parameters=dict(type='object')))
    for name in ('read_file', 'edit_file')
]
NOBODY_ASKED = 'nobody asked for 9'


def call_of(name, **arguments):
    return dict(role='assistant', content=None, tool_calls=[dict(name=name, arguments=arguments)])


def edit_rows(service, wanted, other, n):
    "A row that edits the key that is asked for, and one, labelled rejected, that edits another key."
    path = f'etc/{service}.conf'
    ask = f'The {service} service: please set {wanted} to {70 + n} in {path}, the {service} team agreed on it.'
    text = f'# settings of {service}\n{wanted} = {10 + n}\n{other} = {30 + n}\n'
    start = [dict(role='user', content=ask), call_of('read_file', path=path), dict(role='tool', content=text)]
    sides = [(f'{wanted} = {10 + n}', f'{wanted} = {70 + n}'), (f'{other} = {30 + n}', f'{other} = {NOBODY_ASKED}{n}')]
    ends = [
        [call_of('edit_file', path=path, old_string=a, new_string=b), dict(role='tool', content='Edited')]
        for a, b in sides
    ]
    after = dict(role='assistant', content=f'Set the value in {path}.')
    return [row(*start, *ends[0], after, tools=TOOLS), row(*start, *ends[1], after, tools=TOOLS, label='rejected')]


@pytest.fixture(scope='module')
def labelled_run(tmp_path_factory):
    "Eight good and eight rejected rows, and a rejection without a partner, through both phases with their defaults."
    folder = tmp_path_factory.mktemp('labelled')
    rows = [x for n, (s, keys) in enumerate(KEYS.items()) for x in edit_rows(s, *keys.split(), n)]
    alone = row(dict(role='user', content='Open x.'), call_of('open_it', path='x'), tools=TOOLS, label='rejected')
    write_jsonl(folder / 'rows.jsonl', [*rows, alone])
    collect(out=str(folder / 'run' / '1-collect'), source='none', sessions=str(folder / 'rows.jsonl'))
    synthesize(out=str(folder / 'run' / '2-synthesize'), bfcl='none', n_examples=40, n_preferences=40)
    return folder / 'run'


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_rejected_row_is_never_a_positive(labelled_run):
    out = labelled_run / '2-synthesize'
    jobs = {j.id: j for j in read_jsonl(labelled_run / '1-collect' / 'jobs.jsonl', Job)}
    rejected = {id for id, j in jobs.items() if j.meta.get('label') == 'rejected'}
    assert len(jobs) == 17 and len(rejected) == 9
    assert {(jobs[id].outcome.status, jobs[id].outcome.source) for id in rejected} == {('failed', 'label')}
    examples = [from_dict(Example, d) for d in lines_of(out / 'examples.jsonl')]
    trained = [to_dict(m) for e in examples for m, w in zip(e.messages, e.weights) if w]
    assert [m for m in trained if 'etc/nginx.conf' in json.dumps(m) or 'etc/beacon.conf' in json.dumps(m)]
    assert NOBODY_ASKED not in json.dumps(trained)
    assert NOBODY_ASKED not in (out / 'references.jsonl').read_text()
    assert not [e for e in examples if e.parents[0] in rejected]
    whys = Counter(t['why'] for t in json.loads((out / 'turns.json').read_text()) if t['job'] in rejected)
    assert whys == {'labelled_rejected': sum(len(jobs[id].turns) for id in rejected)}


def test_rejected_rows_become_pairs_and_are_all_accounted_for(labelled_run):
    out = labelled_run / '2-synthesize'
    jobs = {j.id: j for j in read_jsonl(labelled_run / '1-collect' / 'jobs.jsonl', Job)}
    references = lines_of(out / 'references.jsonl')
    held = {r['job'] for r in references}
    assert held and not [id for id in held if jobs[id].meta.get('label') == 'rejected']
    pairs = [p for p in read_jsonl(out / 'preferences.jsonl', Preference) if p.meta['origin'] == 'rows']
    assert len(pairs) == 8 - len(held)
    for p in pairs:
        good, bad = jobs[p.parents[0]], jobs[p.parents[1]]
        assert (p.chosen.tool_calls, p.rejected.tool_calls) == tuple(j.turns[1].said.tool_calls for j in (good, bad))
        assert NOBODY_ASKED in p.rejected.tool_calls[0].arguments['new_string'] and good.id not in held
        assert 'is labelled rejected' in p.rejected_why and 'not_in_evaluation' in p.verified
    numbers = json.loads((out / 'result.json').read_text())
    numbers = numbers.get('numbers', numbers)
    assert {'labelled rows': len(pairs)} == {
        x['origin']: x['pairs'] for x in numbers['pairs_by_mode'] if x['origin'] == 'labelled rows'
    }
    (flow,) = [f for f in numbers['pair_flows'] if f['kind'] == 'rows labelled rejected']
    assert (flow['came'], flow['kept'], flow['held_out'], flow['reasons']) == (
        9,
        len(pairs),
        len(held),
        {'unpaired': 1},
    )
    assert [x['reason'] for x in lines_of(out / 'rejected.jsonl') if x['reason'] == 'unpaired'] == ['unpaired']


def test_a_rejection_gives_no_better_side_and_keeps_apart_from_its_namesake(tmp_path):
    "Both sides of a pair under one id, a later good turn in the rejected one, and a partner that is held out."
    good, bad = edit_rows('nginx', *KEYS['nginx'].split(), 1)
    bad['messages'].insert(2, dict(role='tool', content='Error: try again')), bad['messages'].pop(3)
    write_jsonl(tmp_path / 'rows.jsonl', [good | dict(id='c7'), bad | dict(id='c7', label='Rejected')])
    jobs = [*read_source(tmp_path / 'rows.jsonl')[0]]
    assert [j.id for j in jobs] == ['c7', 'c7#rejected'] and jobs[1].meta['label'] == 'rejected'
    found = Found('phase 1', jobs, [Failure('c7#rejected', 0, 'empty_turn')])
    out = own_pairs(found, OwnRows(), [], gate(), fmt(), 4)
    assert not out.pairs and {f.kind: dict(f.reasons) for f in out.flows if f.came} == {
        'rows labelled rejected': {'unpaired': 1},
        'failures': {'labelled_rejected': 1},
    }
    found = Found('phase 1', [*read_source(tmp_path / 'rows.jsonl')[0]])
    assert own_pairs(found, OwnRows(held_jobs={'c7'}), [], gate(), fmt(), 4).pairs == []


def test_partners_that_contradict_or_went_wrong_give_no_pair(tmp_path):
    good, bad = edit_rows('nginx', *KEYS['nginx'].split(), 1)
    same = bad | dict(label='accepted')
    write_jsonl(tmp_path / 'a.jsonl', [same, bad])
    ((_, _, made),) = job_pairs([*read_source(tmp_path / 'a.jsonl')[0]])
    assert made.reason == 'also_not_rejected'
    good['messages'][4]['content'] = 'Error: old_string not found'
    for label, reason in ((None, 'partner_went_wrong'), ('accepted', '')):
        write_jsonl(tmp_path / 'b.jsonl', [good | (dict(label=label) if label else {}), bad])
        ((_, _, made),) = job_pairs([*read_source(tmp_path / 'b.jsonl')[0]])
        assert getattr(made, 'reason', '') == reason
