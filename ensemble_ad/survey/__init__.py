"""A survey: many detectors on many classes with several seeds, in one table."""
