"""Faults injected on the real parts: hours, not for every change; `make faults` runs them all."""
