"""What everything else stands on: errors, files, paths, child processes, checks of parameters."""
