"""The verbs of the command line, one module each: ``add`` declares the arguments, ``run`` does it."""

VERBS = {
    "check": "check",
    "import": "importing",
    "run": "run",
    "plan": "plan",
    "simulate": "simulate",
    "validate": "validate",
}
"""Module of each verb, in the order in which help lists them."""
