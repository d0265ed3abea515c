//! The checksum at the end of an RDB file.
