"""Synthetic anomalies of both kinds, made from normal pictures: what a study may look at instead of the test split."""

from ensemble_ad.synthesis.folder import complete_class, open_synthetic, synthesise
from ensemble_ad.synthesis.kinds import KINDS
from ensemble_ad.synthesis.sheet import write_contact_sheet

__all__ = ["KINDS", "complete_class", "open_synthetic", "synthesise", "write_contact_sheet"]
