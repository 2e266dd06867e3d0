"""Both sides of redaction, and its speed: planted secrets that are caught, wrong replacements on real sessions, MB per second.

    python bench/bench_privacy.py [--traces FOLDER] [--only canaries,wrong,speed] [FILE.bson[.gz] ...]

Canaries: every kind of `evidence/09_canaries`, ten of each by a seed that was not developed on (`--seed`), each in five
fields of a job. Caught means that no two thirds of the secret are left.

Wrong replacements: everything under `--traces` (JSON, JSONL or text) is redacted file by file. Each replacement has a
hash (of file, place and kind), and `bench/sheets/privacy.csv` says for each that a person read whether it was right. Of
kinds with more than 150 replacements the 150 with the smallest hashes were read. `--list FILE` writes what was replaced,
with what stands around it, for a reader; that file holds text of others and stays outside of the repository.

Speed: the unique strings of the BSON dumps given (of a simulated audit trail where none is given), and the modules of
the standard library. One run, medians, in CPU and wall seconds; ratios are to plain detect-secrets on the same text.
`find_secrets` gets one text at a time, as detect-secrets does; `redact` gets them as a job's strings (joined, with
everything known looked up); `leak_scan` reads the same as JSONL from disk."""

import argparse
import csv
import gzip
import hashlib
import json
import random
import re
import statistics
import sysconfig
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path

from agentft.core.records import Job, Message, ToolCall, Turn, to_dict
from agentft.evidence.canaries import FORMS, KINDS, MACHINES, NAMED, PEOPLE, make_canary
from agentft.evidence.privacy import Redactor, leak_scan, redact
from agentft.evidence.secrets import find_secrets

ROOT = Path(__file__).parents[1]
SHEET = ROOT / 'bench' / 'sheets' / 'privacy.csv'
MOST = 150  # replacements of a kind that a person reads
PLACEHOLDER = re.compile(r'<([A-Z][A-Z0-9_]*?)_\d+(?:_PASSWORD)?>')


AROUND = ('{}', '"{}"', '`{}`', '({})', 'x={}', '{},', 'It is {}.', '- {}', 'a\t{}\tb')  # what a canary stands in


def listed(text):
    return '\n'.join(f'{i:6}\t{line}' for i, line in enumerate(text.splitlines(), 1))


FIELDS = {  # where a canary is planted in a job
    'message': lambda x: Job('j', 'x', turns=[Turn('t', Message('assistant', f'It says:\n{x}\nand more'))]),
    'argument': lambda x: Job(
        'j', 'x', turns=[Turn('t', Message('assistant', tool_calls=[ToolCall('t', {'command': x}, 'c')]))]
    ),
    'result': lambda x: Job(
        'j', 'x', turns=[Turn('t', Message('assistant', 'x'), results=[Message('tool', listed(x), tool_call_id='c')])]
    ),
    'file': lambda x: Job('j', 'x', files_after={'a.txt': f'# notes\n{x}\nend\n'}),
    'JSON in a text': lambda x: Job(
        'j', 'x', turns=[Turn('t', Message('assistant', json.dumps({'content': f'line\n{x}\nend'})))]
    ),
}


def survives(canary, field):
    "Are two thirds of the secret left?"
    clean, _ = redact(FIELDS[field](canary.text), Redactor(deny=['Ann Example']))
    secret = canary.secret.splitlines()[1] if '\n' in canary.secret else canary.secret
    part = secret[: max(len(secret) * 2 // 3, min(8, len(secret)))]
    text = json.dumps(to_dict(clean), ensure_ascii=False)
    return json.dumps(part, ensure_ascii=False)[1:-1] in text or json.dumps(json.dumps(part)[1:-1])[1:-1] in text


def canaries(seed, each=10):
    group = {
        k: name for name, of in dict(forms=FORMS, named=NAMED, machines=MACHINES, people=PEOPLE).items() for k in of
    }
    caught, planted = Counter(), Counter()
    for kind in KINDS:
        rng = random.Random(f'{seed} {kind}')
        for _ in range(each):
            canary = make_canary(kind, rng)
            before, after = rng.choice(AROUND).split('{}')
            canary.before, canary.after = before + canary.before, canary.after + after
            for field in FIELDS:
                planted[kind] += 1
                caught[kind] += not survives(canary, field)
    print(f'canaries of seed {seed}: {sum(caught.values())} of {sum(planted.values())} caught, {len(KINDS)} kinds')
    for name in dict.fromkeys([*group.values(), 'people']):
        of = [k for k in KINDS if group.get(k, 'people') == name]
        n, m = sum(caught[k] for k in of), sum(planted[k] for k in of)
        full = sum(caught[k] == planted[k] for k in of)
        print(f'  {name:10}{n:6} of {m:6}  ({full} of {len(of)} kinds completely)')
    for kind in KINDS:
        if caught[kind] < planted[kind]:
            print(f'    {kind:44}{caught[kind]:4} of {planted[kind]}')


def documents(path):
    "What a file holds: one JSON value, one per line, or its lines as text."
    text = path.read_text(encoding='utf-8', errors='replace')
    try:
        return [json.loads(text)]
    except ValueError:
        pass
    out = []
    for line in text.splitlines():
        try:
            out.append(json.loads(line))
        except ValueError:
            out.append(line)
    return out


def pairs(old, new):
    "`(old, new)` of every text in two values of the same shape; the texts of keys come first."
    if isinstance(old, dict):
        for (k, v), (k2, v2) in zip(old.items(), new.items()):
            yield k, k2, True
            yield from pairs(v, v2)
    elif isinstance(old, list):
        for a, b in zip(old, new):
            yield from pairs(a, b)
    elif isinstance(old, str) or old != new:
        yield str(old), str(new), False


def replaced(old, new):
    "`(start, end, kind)` in `old` of what `new` has placeholders for."
    at, marks = 0, list(PLACEHOLDER.finditer(new))
    starts = [0, *(m.end() for m in marks)]
    ends = [*(m.start() for m in marks), len(new)]
    kept = [new[s:e] for s, e in zip(starts, ends)]
    at = len(kept[0])
    for m, rest, last in zip(marks, kept[1:], [*[False] * (len(marks) - 1), True]):
        end = len(old) - len(rest) if last else old.find(rest, at + 1)
        if old[at:end] != m[0]:
            yield at, end, m[1]
        at = end + len(rest)


def hits_of(folder):
    "`(hash, file, kind, before, secret, after)` of every replacement, and the number of lines of text."
    out, lines = [], 0
    for path in sorted(folder.rglob('*')):
        if not path.is_file() or 'LICENSE' in path.name or path.suffix in ('.py', '.md') and path.parent == folder:
            continue
        name, redactor, ordinal = str(path.relative_to(folder)), Redactor(), 0
        old = documents(path)
        new, _ = redact(old, redactor)
        for a, b, is_key in pairs(old, new):
            ordinal += 1
            lines += 0 if is_key else sum(bool(line.strip()) for line in a.splitlines())
            if a == b:
                continue
            for s, e, kind in replaced(a, b):
                key = hashlib.sha256(f'{name}\0{ordinal}:{s}\0{kind}'.encode()).hexdigest()[:12]
                out.append((key, name, kind, a[max(s - 50, 0) : s], a[s:e], a[e : e + 30]))
    return out, lines


def wrong(folder, listing):
    if not folder.is_dir():
        print(f'wrong replacements: skipped, there is no folder {folder}')
        return
    hits, lines = hits_of(folder)
    by_kind = defaultdict(list)
    for hit in sorted(hits):
        by_kind[hit[2]].append(hit)
    if listing:
        if ROOT.resolve() in Path(listing).resolve().parents:
            raise SystemExit(f'{listing} is in the repository: the list holds text of others')
        with open(listing, 'w', encoding='utf-8') as f:
            for kind in by_kind.values():
                f.writelines(json.dumps(hit, ensure_ascii=False) + '\n' for hit in kind[:MOST])
    with SHEET.open(encoding='utf-8', newline='') as f:
        verdicts = {row['hit']: row['verdict'] for row in csv.DictReader(f)}
    print(f'wrong replacements: {len(hits)} replacements in {lines} lines of text')
    print(f'  {"kind":20}{"replaced":>9}{"read":>6}{"wrong":>6}{"per 10,000 lines":>18}')
    total = 0
    for kind, of in sorted(by_kind.items()):
        read = [verdicts[key] for key, *_ in of[:MOST] if key in verdicts]
        share = read.count('wrong') / len(read) if read else float('nan')
        rate = share * len(of) / lines * 10_000
        total += rate if read else 0
        missing = min(len(of), MOST) - len(read)
        note = f'  ({missing} not read)' if missing else ''
        print(f'  {kind:20}{len(of):9}{len(read):6}{read.count("wrong"):6}{rate:18.3f}{note}')
    print(f'  all together: {total:.3f} wrong replacements per 10,000 lines')


def strings(o, out):
    if isinstance(o, str):
        out[o] = None
    elif isinstance(o, dict):
        for k, v in o.items():
            out[str(k)] = None
            strings(v, out)
    elif isinstance(o, (list, tuple)):
        for x in o:
            strings(x, out)


def audit(paths):
    import bson

    out = {}
    for p in paths:
        for d in bson.decode_file_iter((gzip.open if p.endswith('.gz') else open)(p, 'rb')):
            strings(d, out)
    if not paths:
        from agentft.phases.collect import simulate

        for j in simulate(6, 0.5, families=('config', 'rename', 'facts', 'compact')):
            strings(to_dict(j), out)
    return list(out)


def library():
    return [
        p.read_text(encoding='utf-8', errors='replace')
        for p in sorted(Path(sysconfig.get_paths()['stdlib']).glob('*.py'))
    ]


def detect_secrets(texts):
    "As its command line does it: all plugins and filters, on a file."
    from detect_secrets.core.scan import scan_file
    from detect_secrets.settings import default_settings

    with tempfile.TemporaryDirectory() as d, default_settings():
        p = Path(d) / 'x.txt'
        p.write_text('\n'.join(texts), encoding='utf-8', errors='replace')
        return sum(1 for _ in scan_file(str(p)))


def its_patterns(texts):
    "Its fixed formats alone, without entropy, keywords and filters."
    import importlib
    import pkgutil

    import detect_secrets.plugins as plugins

    rules = [
        r
        for m in pkgutil.iter_modules(plugins.__path__)
        for c in vars(importlib.import_module(f'{plugins.__name__}.{m.name}')).values()
        if isinstance(c, type) and isinstance(getattr(c, 'denylist', None), (list, tuple))
        for r in c.denylist
    ]
    return sum(1 for t in texts for r in rules for _ in r.finditer(t))


def by_text(texts):
    return sum(len(find_secrets(t)) for t in texts)


def as_job(texts):
    r = Redactor()
    redact(texts, r)
    return sum(r.count.values())


def from_disk(texts):
    with tempfile.TemporaryDirectory() as d:
        p = Path(d) / 'x.jsonl'
        p.write_text(
            ''.join(json.dumps(dict(t=t), ensure_ascii=False) + '\n' for t in texts), encoding='utf-8', errors='replace'
        )
        return len(leak_scan(p, allow=()))


def timed(f, texts, runs):
    out = []
    for _ in range(runs):
        w, c = time.perf_counter(), time.process_time()
        n = f(texts)
        out.append((time.perf_counter() - w, time.process_time() - c))
    return n, *(statistics.median(x) for x in zip(*out))


def speed(paths, sample=400_000):
    print(f'{"text":18}{"what":16}{"MB":>7}{"found":>7}{"MB/s":>9}{"per CPU s":>11}{"times detect-secrets":>22}')
    for name, texts in dict(audit=audit(paths), library=library()).items():
        few, n = [], 0
        for t in texts:
            if n + len(t) <= sample:
                few.append(t)
                n += len(t)
        find_secrets('warm up: AKIA' + '0' * 16)
        base = None
        for what, f, x, runs in [
            ('detect-secrets', detect_secrets, few, 1),
            ('its patterns', its_patterns, few, 1),
            ('find_secrets', by_text, texts, 5),
            ('redact', as_job, texts, 5),
            ('leak_scan', from_disk, texts, 5),
        ]:
            mb = sum(len(t.encode('utf-8', 'surrogatepass')) for t in x) / 1e6
            found, wall, cpu = timed(f, x, runs)
            base = base or mb / cpu
            print(f'{name:18}{what:16}{mb:7.2f}{found:7}{mb / wall:9.1f}{mb / cpu:11.1f}{mb / cpu / base:22.0f}')


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('dumps', nargs='*', help='BSON dumps whose texts are timed')
    parser.add_argument('--traces', default='', help='folder of real sessions')
    parser.add_argument('--only', default='canaries,wrong,speed')
    parser.add_argument('--seed', default='held out 20261129', help='of the canaries')
    parser.add_argument('--list', default='', help='file for a reader, outside of the repository')
    args = parser.parse_args()
    only = args.only.split(',')
    if 'canaries' in only:
        canaries(args.seed)
    if 'wrong' in only and args.traces:
        wrong(Path(args.traces), args.list)
    elif 'wrong' in only:
        print('wrong replacements: skipped, no folder of sessions was given (--traces)')
    if 'speed' in only:
        speed(args.dumps)


if __name__ == '__main__':
    main()
