"""Template: for which rows will it happen, and which of them are worth acting on?

One table in, one probability a row out; the smallest whole vertical, to be filled with a business of your own.
"""
