"""The synthesizer service: from evidence to notes, a cited answer, or a choice."""
