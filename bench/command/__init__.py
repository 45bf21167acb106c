"""The commands of `python -m bench`, one module each: options in, tables and one line of JSON out."""
