//! A virtual machine with a Linux USB stack, in which programs of this machine run.
