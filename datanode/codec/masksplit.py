"""Codec 2: split each 16-bit word by a mask into noise, stored as it is, and symbols for zstd.

In a float the exponent is skewed, the top mantissa bits a little, and the other bits are noise
that no compressor helps. So a mask, chosen for each chunk, splits the words: the bits outside it
are the *raw part*, packed without gaps; the bits inside it are the *symbol part*, of which the at
most 256 most frequent values are mapped to bytes, by falling frequency, and the rest are patched.
Trailing mantissa bits that are mostly zero (a BF16 value kept as F16) belong to the symbol part.

F16 and BF16 are one plane of words. F32 is two: the upper halves (a BF16 each), then the lower
halves (all zero when the values were BF16 once). Other element types have no codec 2.
The raw bytes are n whole elements, little-endian, and a tail shorter than an element.

The payload, little-endian::

    offset size field
         0    1 plane count: 1 for F16 and BF16, 2 for F32
         1    3 reserved, zero
         4   16 header of each plane:
                   0    2 mask
                   2    2 symbol count s, 1 to 256
                   4    4 patch count p, at most n
                   8    4 stream length z, bytes; 0 exactly if s is 1
                  12    4 reserved, zero
         .    - body of each plane:
                 2 * s    symbols, u16; no bit outside the mask
                 4 * p    patch positions, u32; rising, below n
                 2 * p    patch symbols, u16; no bit outside the mask
        b * ceil(n/8)     raw plane, b = count of the bits outside the mask (datanode/codec/bits.py)
                     z    zstd stream (rules: datanode/codec/zstd.py) of n bytes: for each word the
                          index of its symbol, below s; any for a patched word (written: 0)
         .    - tail, as it is; a trailing byte is an error

A word is its symbol, or its patch symbol if it is patched, together with its raw part. Without a
stream every index is 0: a constant plane has mask 0xFFFF and one symbol, pure noise has mask 0.
"""
