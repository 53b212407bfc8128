"""Effect and case in, return out: cash flows, decision, sensitivity."""
