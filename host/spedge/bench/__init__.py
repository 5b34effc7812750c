"""What things cost, here and on boards: the tokenizer, decoders and models. Behind `spedge bench`."""
