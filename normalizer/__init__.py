"""A source document → the canonical order and its verdicts. Knows no channel by name."""
