"""What the one-step and few-step systems claim, measured."""
