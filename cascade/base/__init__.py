"""What everything else stands on: errors, files, time, the ledger."""
