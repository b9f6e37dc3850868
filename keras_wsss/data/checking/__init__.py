"""Looks at a data set before anybody trains on it. None of it needs TensorFlow.

``reading`` finds out what belongs to the data set, ``looking`` opens every file once, and the other
files hold one function for each kind of fault, all of one shape: what was read -> findings.
"""
