"""What the engine needs from outside, as protocols; `adapters` implements them."""
