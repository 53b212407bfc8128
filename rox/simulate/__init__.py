"""Banks with a known answer.

``simulate`` makes a bank from its dials; ``truth`` says what an intervention really does in it, and what it is worth;
``tables``, ``write_bank`` and ``write_study`` give what such a bank would hand over. ``open_accounts`` makes the
account-opening funnel; ``funnel_truth`` and ``funnel_steps`` say what its new form does. The module ``picture`` sets
naive figures beside true ones.
"""

from rox.simulate.bank import Bank, Intervention
from rox.simulate.cash import TrueReturn
from rox.simulate.config import BankConfig
from rox.simulate.export import write_bank
from rox.simulate.funnel import Applications, funnel_steps, funnel_truth, open_accounts
from rox.simulate.mixed import mixed
from rox.simulate.presets import preset
from rox.simulate.referrals import referral_summary
from rox.simulate.segments import SegmentConfig
from rox.simulate.study import write_study
from rox.simulate.tables import promotions, tables
from rox.simulate.truth import Truth, truth
from rox.simulate.world import simulate

__all__ = [
    "Applications",
    "Bank",
    "BankConfig",
    "Intervention",
    "SegmentConfig",
    "TrueReturn",
    "Truth",
    "funnel_steps",
    "funnel_truth",
    "mixed",
    "open_accounts",
    "preset",
    "promotions",
    "referral_summary",
    "simulate",
    "tables",
    "truth",
    "write_bank",
    "write_study",
]
