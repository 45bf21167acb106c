"""The three services that the orchestrator calls, and what they share."""
