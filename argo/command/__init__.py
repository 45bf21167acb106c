"""The commands of the command line, one module for each thing that they are about."""
