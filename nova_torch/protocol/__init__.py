"""The control protocol that programs and the daemon speak over a Unix socket."""
