"""The catalogue as a picture: every item a point, and near one another what is alike.

    rows and neighbours of a space, or of taste ──> Ground ──> sketch: the two directions that differ most, at once
                                                          └──> layout: neighbours stay together, in a process of its own

Read in this order: ground, layout, colouring, keeping, job.
"""

FOLDER = "maps"
"""In the home folder: where layouts are kept."""
