"""Reading archives that nobody trusts: what is in them, under which safe names, and how much there may be."""
