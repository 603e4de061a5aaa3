"""Makes a data set in the format of MAP 2025: a student's answer, and an explanation that shows how it was reached."""
