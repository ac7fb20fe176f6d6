"""QLoRA fine-tuning, and the stand-in base model."""
