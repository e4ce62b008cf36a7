"""A trained model in use: its checkpoint folder, and what it makes of recordings and stores."""
