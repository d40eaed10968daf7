"""Model cards, the models that ship, and safe loading of other people's."""
