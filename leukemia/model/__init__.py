"""The classifier: backbones, features, training in stages, and fast inference."""
