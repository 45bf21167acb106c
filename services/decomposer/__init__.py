"""The decomposer service: from a question to foci, and from a focus to a subquery."""
