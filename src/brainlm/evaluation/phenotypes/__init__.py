"""Whether the model predicts what is known of people, beside everything simpler: targets, folds, scores, statistics."""
