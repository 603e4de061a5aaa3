"""Makes a data set in the competition's format whose labels are true by construction."""
