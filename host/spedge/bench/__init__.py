"""What things cost: the tokenizer (`tokenizer`), decoders (`decoder`) and models (`model`), here and on boards. Behind `spedge bench`."""
