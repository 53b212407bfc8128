"""Banks with a known answer.

``simulate`` makes a bank from its dials; ``truth`` says what an intervention really does in it; ``tables`` and
``write_bank`` give what such a bank would hand over.
"""

from rox.simulate.bank import Bank, Intervention
from rox.simulate.config import BankConfig
from rox.simulate.export import write_bank
from rox.simulate.presets import preset
from rox.simulate.segments import SegmentConfig
from rox.simulate.tables import promotions, tables
from rox.simulate.truth import Truth, truth
from rox.simulate.world import simulate

__all__ = [
    "Bank",
    "BankConfig",
    "Intervention",
    "SegmentConfig",
    "Truth",
    "preset",
    "promotions",
    "simulate",
    "tables",
    "truth",
    "write_bank",
]
