"""A deep convolutional generative adversarial network: networks, training, made cells.

A library of its own: images in, a generator and images out. It knows nothing of techniques,
of classes or of whoever records its reports.
"""
