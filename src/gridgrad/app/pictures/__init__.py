"""Pictures of fields and of their derivatives, on labelled arrays."""
