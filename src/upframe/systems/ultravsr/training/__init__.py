"""Training tasks of UltraVSR and what they alone use."""
