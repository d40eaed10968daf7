"""Training tasks of LiftVSR and what they alone use."""
