"""Small faults, put into the code one at a time, to see which no test notices: `make mutants`."""
