"""The stage `prepare`: rows in, cleaned, deduplicated and split examples out."""
