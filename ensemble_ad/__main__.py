"""`python -m ensemble_ad` is `ensemble-ad`."""

from ensemble_ad.cli import main

main()
