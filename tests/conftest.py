"""Runs in tests are not tracked, unless a test is about tracking."""

import os

os.environ["ENSEMBLE_AD_TRACK"] = "no"
