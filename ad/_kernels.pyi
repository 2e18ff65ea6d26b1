# Nothing in it is called from Python.
