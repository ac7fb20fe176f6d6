"""The registry stage: gate, model card, registry entry."""
