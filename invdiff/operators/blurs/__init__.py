"""Blurs: convolution with any kernel and border, kernels, blurs that vary over the image."""
