"""Real processes under a seeded schedule of faults; at the end, every byte is accounted for."""
