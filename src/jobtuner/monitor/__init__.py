"""The watch over a served model: drift, quality, and the decision to train anew."""
