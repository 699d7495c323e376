"""Why is a file not fast, or not loaded, in a runtime? One file of rules a runtime."""
