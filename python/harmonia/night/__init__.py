"""A whole night on one machine: a daemon, sleepers in processes of their own with wrong clocks, and a report.

Everything in it is real: the processes talk gRPC and UDP as strangers would. Only this package knows the truth about
the clocks, because it reads the sanctuary's clock file on the same machine; no sleeper does.
"""
