"""What synthetic cells are worth, whoever made them: distances, shortcuts, copies, membership.

A library of its own: images in, figures and pictures out. It knows neither GANs nor techniques.
"""
