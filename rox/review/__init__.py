"""After the report: why a figure changed, and whether it came true."""
