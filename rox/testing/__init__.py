"""The contract of a model as one call, and small linked panels to develop a model against."""

from rox.testing.contract import Estimator, check_estimator
from rox.testing.planted import planted_linked
from rox.testing.samples import linked_from_frame, sample_linked

__all__ = ["Estimator", "check_estimator", "linked_from_frame", "planted_linked", "sample_linked"]
