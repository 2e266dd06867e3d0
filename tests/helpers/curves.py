"Learning curves whose truth is known."

import numpy as np
from scipy.special import expit

from agentft.core.intervals import Clusters
from agentft.evaluation.curves import Curve

ROWS = [18, 36, 72, 144]
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(41)


def share(logit, spread):
    "Share of jobs that succeed where their log-odds are normal around `logit`."
    return float((expit(logit + spread * NODES) * WEIGHTS).sum() / WEIGHTS.sum())


def simulated(a, b, families=10, each=4, spread=1.0, luck=0.3, seed=0, rows=ROWS):
    """A curve, and what a doubling is worth: log-odds `a` with all rows and `b` more with each doubling; families and jobs
    in them are harder or easier by `spread`, trainings better or worse by `luck`."""
    rng, jobs = np.random.default_rng(seed), families * each
    hard = np.repeat(rng.normal(0, spread, families), each) + rng.normal(0, spread, jobs)
    x = np.log2(np.array(rows) / max(rows))
    logit = a + b * x[:, None] + rng.normal(0, luck, (len(rows), 1)) + hard
    right = (rng.random(logit.shape) < expit(logit)).astype(float)
    labels = [f'family {k // each}' for k in range(jobs)]
    of, wide = np.ones_like(right), (2 * spread**2 + luck**2) ** 0.5
    return Curve('task success', rows, right.tolist(), of.tolist(), Clusters(labels, 'family')), (
        share(a + b, wide) - share(a, wide)
    )
