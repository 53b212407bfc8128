"""What tells two runs apart: digests of effects, of a case, and of all that a return was made of."""

from __future__ import annotations

import hashlib
import json

import numpy as np

from rox.core.case import Case
from rox.core.effect import Effect
from rox.core.returns import Return

LENGTH = 12


def effect_digest(effect: Effect) -> str:
    """Return the SHA-256 of an effect: of its draws, its question, its checks and its data's fingerprint."""
    held = hashlib.sha256(json.dumps(effect.as_record(), ensure_ascii=False, sort_keys=True).encode())
    for array in (effect.draws, effect.shares, effect.path, effect.shift):
        held.update(b"-" if array is None else np.ascontiguousarray(array).tobytes())
    return held.hexdigest()


def case_digest(case: Case) -> str:
    """Return the SHA-256 of a case without its signatures, which are given after the figures are known."""
    return hashlib.sha256(case.model_dump_json(exclude={"review": {"sign_offs"}}).encode()).hexdigest()


def run_id(money: Return) -> str:
    """Return the name of a run, 12 hexadecimal digits: same case, effects, seed and figures, same name.

    Page, workbook and record of a run print it, and a signature names it. Signing does not change it.
    """
    parts = [case_digest(money.case), str(money.seed), *(effect_digest(effect) for effect in money.effects)]
    digest = hashlib.sha256("\n".join(parts).encode())
    digest.update(np.ascontiguousarray(money.draws["npv"], dtype=float).tobytes())
    return digest.hexdigest()[:LENGTH]
