"""The verbs of the command line, one module each: ``add`` declares the arguments, ``run`` does it."""

VERBS = {
    "check": "check",
    "case": "case",
    "import": "importing",
    "run": "run",
    "compare": "compare",
    "plan": "plan",
    "sample": "sample",
    "tree": "tree",
    "chain": "chain",
    "alerts": "alerts",
    "allocate": "allocate",
    "freeze": "freeze",
    "backtest": "backtest",
    "simulate": "simulate",
    "validate": "validate",
}
"""Module of each verb, in the order in which help lists them."""
