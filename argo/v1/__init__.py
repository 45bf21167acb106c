"""Generated messages and stubs of the wire; made by `make protos`, never edited."""
