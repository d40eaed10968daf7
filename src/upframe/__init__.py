"""Video super-resolution you can trust with your videos."""
