"""Linear algebra without images: iterative solves, sparse maps, constants."""
