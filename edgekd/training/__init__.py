"""How networks are trained, whatever step asks for it."""
