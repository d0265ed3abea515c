//! LZF, the compression of strings in an RDB file.
