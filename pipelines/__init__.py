"""The order of the stages, and the ways to run them: on this machine, or on a Kubeflow cluster."""
