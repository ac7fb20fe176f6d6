"""The pipeline's components: each turns artifacts into paths and calls one function of `jobtuner`."""
