"""Commands of the command line, one module each: `add` defines the options, `run` executes the command."""
