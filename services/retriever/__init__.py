"""Documents in, ranked passages out: readers, Chroma, a lexical index and calibrated relevance."""
