"""Words, stop words and sentences of O-RAN prose, shared by the retriever and the builtin engines."""
