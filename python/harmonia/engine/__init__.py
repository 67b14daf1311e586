"""The sanctuary's mind: trio, one thread, one conductor a circle. It decides, records, and tells the data plane."""
