"""Events as values: predictions, pictures and data turned into what the API takes. Pure code."""
