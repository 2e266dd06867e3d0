"""MB per second of the secret scan, beside plain detect-secrets on the same text.

    python bench/bench_privacy.py [FILE.bson[.gz] ...]

Texts: the unique strings of the BSON dumps given (of a simulated audit trail where none is given), and the modules of
the standard library. One run, medians, in CPU and wall seconds; ratios are to detect-secrets.
`find_secrets` gets one text at a time, as detect-secrets does; `redact` gets them as a job's strings (joined, with
everything known looked up); `leak_scan` reads the same as JSONL from disk."""

import gzip
import json
import statistics
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

from agentft.core.records import to_dict
from agentft.evidence.privacy import Redactor, leak_scan, redact
from agentft.evidence.secrets import find_secrets


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

        for j in simulate(6, 0.5):
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


def main(paths, sample=400_000):
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


if __name__ == '__main__':
    main(sys.argv[1:])
