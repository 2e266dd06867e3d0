"""What an older agentft left is still read: `tests/data/collected_v1` was collected before the agent's phase was called
`agent_phase` (records of version 1), from four simulated jobs."""

import json
import shutil
from pathlib import Path

import pytest

from agentft import collect, synthesize
from agentft.core.metrics import five
from agentft.core.records import Job, from_dict, read_jsonl
from agentft.evidence.failures import Failure
from agentft.workbench.runs import read_result

OLD = Path(__file__).parent / 'data' / 'collected_v1'


@pytest.fixture
def run(tmp_path):
    "A run whose first phase is the old one."
    shutil.copytree(OLD, tmp_path / '1-collect')
    return tmp_path


def test_old_records_are_read():
    raw = [json.loads(line) for line in (OLD / 'jobs.jsonl').read_text().splitlines()]
    assert all(d.get('v', 1) == 1 and 'phase' in d['turns'][0] for d in raw)
    jobs = read_jsonl(OLD / 'jobs.jsonl', Job)
    assert [t.agent_phase for j in jobs for t in j.turns] == [t['phase'] for d in raw for t in d['turns']]
    assert all(j.files_complete and j.v == 2 for j in jobs)
    assert not from_dict(Job, raw[0] | dict(source='mongodb')).files_complete
    assert {f.agent_phase for f in read_jsonl(OLD / 'failures.jsonl', Failure)} <= {'strategic', 'tactical', ''}
    old = read_result(OLD)['numbers']['metrics']
    new = five(jobs)
    now = {k: [m.numerator, m.denominator] for k, m in new.items()}
    then = {k: [m['numerator'], m['denominator']] for k, m in old.items()}
    assert (then.pop('edit_precision'), now.pop('edit_precision')) == (
        [42, 22],
        [38, 6],
    )  # workspace.md is left out now
    assert now == then


def test_an_old_ledger_goes_on(run):
    "The same collect again: the same jobs, in today's records, and nothing is lost."
    collect(out=str(run / '1-collect'), jobs_per_family=1, faulty_share=0.5)
    jobs = {j.id: j for j in read_jsonl(run / '1-collect' / 'jobs.jsonl', Job)}
    assert set(jobs) == {j.id for j in read_jsonl(OLD / 'jobs.jsonl', Job)}
    numbers = read_result(run / '1-collect')['numbers']
    assert numbers['jobs'] == 4
    assert any('judged again' in note for note in numbers['notes']), numbers['notes']  # kept, not thrown away
    assert not any('not kept' in note for note in numbers['notes']), numbers['notes']


def test_phase_2_takes_an_old_phase_1(run):
    synthesize(out=str(run / '2-synthesize'), n_examples=6, n_preferences=1)
    numbers = read_result(run / '2-synthesize')['numbers']
    assert numbers['failures'] == 6 and numbers['by_origin'].get('job')
