"""From a trained model to a small bundle that was measured to be faster on its device."""
