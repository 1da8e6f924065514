"""Which member of an ensemble matters: its Shapley value, from what every subset of the members reaches."""
