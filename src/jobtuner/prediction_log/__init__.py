"""The prediction log: what the gateway answered, as Parquet by day, for the watch over drift and quality."""
