"""Why a process failed: the first exception of the first one that died, by its log, and the known causes' fixes."""
