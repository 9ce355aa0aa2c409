"""The command `liferaft`: one file per verb, errors as sentences, one exit status per meaning.

Importing it imports neither cyclopts nor rich: they come with the extra `liferaft[cli]`.
"""
