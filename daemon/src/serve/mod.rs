//! The transports: how requests reach the file system and replies the kernel.
