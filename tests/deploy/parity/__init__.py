"""Both deployments in one form: {(kind, name): properties}, kinds and properties named as CloudFormation does.

What the maps do not know is an error, so nothing is left out of the comparison silently.
"""
