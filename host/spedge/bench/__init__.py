"""What things cost: the tokenizer (`tokenizer`) and models (`model`), here and on boards. Behind `spedge bench`."""
