"""The HTTP endpoint around an exported model."""
