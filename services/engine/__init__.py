"""Language models behind one port: the engines that decomposer and synthesizer share."""
