//! Small file systems, read from block devices without mounting them.
