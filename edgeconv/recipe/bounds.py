"""The bounds that outputs are held to, and the lines below which they are flagged.

One home for both uses: an artifact against its source, and a device against the server's
own run of the same file.
"""

from __future__ import annotations

FP32_SNR_DB = 60.0
FP32_SHARE_OF_PEAK = 1e-5
"""An error of this share of the largest value is the rounding of single precision."""
FP32_SLICE_DB = 30.0
"""What each slice of an output has to reach, where its error is not rounding."""
FP32_SLICE_FLOOR = 1e-6
"""An error of this share of the whole output's largest value is rounding in any slice."""
FP32_EQUAL_SHARE = 0.999
LOSSY_MASK_SHARE = 1e-3
"""A mask of a lossy output is kept when it is off by no more than this share of itself."""
LOSSY_LEAST_DB = 0.0
"""Below this the mean of the source's outputs would have been the better answer."""
FP16_FLAG_DB = 40.0
LOSSY_FLAG_DB = 20.0
DECISION_FLAG_DB = 10.0
"""Below this no equal decisions excuse an output."""
SLICE_FLAG_DB = 3.0
"""Below this a slice of a lossy output is lost."""
SLICE_FLAG_SHARE = 0.1
ARGMAX_FLAG = 0.95
LOSSY_EQUAL_SHARE = 0.95
