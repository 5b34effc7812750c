"""What a model is to do: its loss, its predictions and how good they are."""
