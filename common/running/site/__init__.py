"""A static site of everything the repository says, see :mod:`common.running.site.build`."""
