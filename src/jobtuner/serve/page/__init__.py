"""The web page of the gateway: an ad in, its occupation, its skills and a cover letter out.

It asks the gateway itself, inside the process and through all of its layers: keys, limits, counters and log lines hold
for people as they do for programs.
"""
