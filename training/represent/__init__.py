"""Events to what a model is fed."""
