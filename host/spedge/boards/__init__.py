"""Boards: their manifests, building their firmware, starting them, finding them."""
