"""Arrays in, small frozen fits out.

Nothing in this room knows customers, money or the rest of rox: every function takes arrays and returns arrays
or a frozen record of arrays, and raises `ValueError` on input it cannot use.
"""
