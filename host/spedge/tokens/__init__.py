"""Events to tokens, and tokens to what a model sees."""
