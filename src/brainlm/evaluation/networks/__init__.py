"""Whether features of parcels tell which functional network each belongs to: features, classifiers, nulls, scores."""
