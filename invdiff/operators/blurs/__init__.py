"""Blurs: convolution with any kernel and border, kernels, blurs that differ from place to place."""
