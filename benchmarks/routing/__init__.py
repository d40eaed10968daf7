"""Time of routed attention against all-global attention."""
