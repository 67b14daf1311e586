"""What other programs reach in worlds 1 to 11: rms error in microseconds, measured with clknetsim.

Medians of five seeds at one poll a second, the first 300 s left out (600 s in world 5). "chrony tuned" is the better
of maxdelayquant 0.1 and maxdelaydevratio 2; ptp4l used software time stamps; LSL, Link and snapcast stand for the
published estimators of those projects alone, without a servo.
"""

RMS_US: dict[int, dict[str, float]] = {
    1: {"chrony": 1.06, "ptp4l": 2.80, "LSL": 82, "Link": 879, "snapcast": 4987},
    2: {"chrony": 10.1, "ptp4l": 28},
    3: {"chrony": 101, "chrony tuned": 33, "ptp4l": 268, "LSL": 196, "Link": 877, "snapcast": 5015},
    4: {"chrony": 102, "ptp4l": 272},
    5: {"chrony": 1042, "ptp4l": 2656, "LSL": 1749},
    6: {"chrony": 34, "ptp4l": 1244},
    7: {"chrony": 108},
    8: {"chrony": 101, "ptp4l": 4017, "LSL": 211},
    9: {"chrony": 203},
    10: {"chrony": 107, "ptp4l": 268},
}
