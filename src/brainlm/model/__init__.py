"""From plain tensors to reconstructions and embeddings: tokens, masks and the masked autoencoder."""
