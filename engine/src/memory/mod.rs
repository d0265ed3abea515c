//! Layer 1: a hash table over an arena of records, both of a fixed size.
