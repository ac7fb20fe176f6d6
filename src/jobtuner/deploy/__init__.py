"""The deploy stage: an endpoint is started and has to prove itself."""
