"""The command line: one module a command, each with its parser (`add`) and what it does (`run`)."""
