"""The one-machine launcher and the deployment files."""
