"Your agent's own history in, a measurably better agent out."
__version__ = "0.1.0"

_DOORS = dict(collect='phases.collect', synthesize='phases.synthesize', train='phases.train', evaluate='phases.evaluate', run='workbench.runner')
__all__ = list(_DOORS)


def __getattr__(name):
    "The doors of the library, imported when they are asked for: `import agentft` stays a blink."
    from importlib import import_module
    if name not in _DOORS: raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(f'{__name__}.{_DOORS[name]}'), name)


def __dir__(): return sorted([*globals(), *_DOORS])
