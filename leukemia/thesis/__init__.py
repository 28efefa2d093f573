"""The thesis that this project re-tells: its numbers, its way to count, and what they are worth."""
