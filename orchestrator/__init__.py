"""The decision process, its policies, the loop and the session store."""
