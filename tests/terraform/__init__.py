"""Terraform: the contract with manifests/ and pipelines/, the modules' hygiene, and the scripts beside them."""
