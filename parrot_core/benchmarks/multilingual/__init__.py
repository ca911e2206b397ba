"""The scorer `multilingual`: reading answers in any language of `lexicon.toml`, by rules."""
