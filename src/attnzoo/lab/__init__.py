"""The laboratory: fair comparisons of modules on real images. Needs the extra `[lab]`."""
