"""A simulator of consumers that are scaled: our advice beside other ways (`make scaling`)."""
