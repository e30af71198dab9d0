"""Search over the settings of a model: what is searched, on which folds, by which method, and what is chosen."""
