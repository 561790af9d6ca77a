"""Lessons over recorded runs: texts as data in ``lessons/``, the reader as scripts beside this file."""
