"""The nouns: what flows from room to room."""
