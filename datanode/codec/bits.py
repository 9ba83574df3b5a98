"""The raw plane: the bits outside a mask of each 16-bit word, without gaps.

The b bits of a word outside the mask, lowest first, are its *field*. The n fields are padded with
zero fields (checked by the reader) to N = 8 * ceil(n/8), so that the plane has b * N/8 bytes.
b is the sum of some of 16, 8, 4, 2 and 1. For each of these widths d, the largest first, there is
a sub-plane of d * N/8 bytes that takes the next d bits of every field, lowest first:

- d = 16: N little-endian words, d = 8: N bytes, in order;
- d < 8: byte j holds 8/d fields, of the words j, j + L, j + 2L, ... with L = d * N/8, the first
  in the lowest bits.

So consecutive bytes always belong to consecutive words: packing and unpacking are shifts of whole
vectors, in numpy as in SIMD, and inside one eighth of the words every shift is a constant.
"""
