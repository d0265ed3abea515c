//! How a number of bytes is divided into table, arena and chunks. Pure arithmetic.

/// Arena bytes per bucket (seven slots) of the table: records average some seventy bytes and more.
const ARENA_BYTES_PER_BUCKET: usize = 512;

/// What the table's share is divided by to get the doorkeeper's.
const DOORKEEPER_SHARE: usize = 8;

const CHUNK_BYTES_MAX: usize = 1 << 20;
const CHUNK_BYTES_MIN: usize = 4 << 10;
/// Chunks of this size hold any key with a fair value; smaller ones only where memory is very tight.
const CHUNK_BYTES_FAIR: usize = 128 << 10;

/// The smallest arena that can be worked with.
pub(super) const ARENA_BYTES_MIN: usize = 16 * CHUNK_BYTES_MIN;

/// The division of one number of bytes between the hash table and its arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// For [`Memory::new`](super::Memory::new).
    pub table_bytes: usize,
    /// For [`Memory::new`](super::Memory::new).
    pub arena_bytes: usize,
}

impl Budget {
    /// Divides `bytes` so that the table is large enough for an arena full of common records.
    pub fn of(bytes: usize) -> Self {
        let bucket_bytes = 64 + 64 / (DOORKEEPER_SHARE - 1);
        let table_bytes = bytes / (ARENA_BYTES_PER_BUCKET + bucket_bytes) * bucket_bytes;
        Self {
            table_bytes,
            arena_bytes: bytes - table_bytes,
        }
    }
}

/// How the table's bytes are used: (buckets, doorkeeper entries of two bytes).
pub(super) fn table_parts(table_bytes: usize) -> (usize, usize) {
    let doorkeeper_bytes = table_bytes / DOORKEEPER_SHARE;
    let buckets = (table_bytes - doorkeeper_bytes) / 64;
    // Buckets are addressed by 32 bits of the hash.
    let buckets_max = usize::try_from(u32::MAX).unwrap_or(usize::MAX);
    (
        buckets.clamp(8, buckets_max),
        (doorkeeper_bytes / 2).max(16),
    )
}

/// The size of a chunk: a power of two, such that the arena has at least eight, and more where
/// that leaves them large enough.
pub(super) fn chunk_bytes(arena_bytes: usize) -> usize {
    let wanted = (arena_bytes / 32)
        .max((arena_bytes / 8).min(CHUNK_BYTES_FAIR))
        .clamp(CHUNK_BYTES_MIN, CHUNK_BYTES_MAX);
    1 << wanted.ilog2()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arena_has_at_least_eight_chunks() {
        let mut bytes = ARENA_BYTES_MIN;
        while bytes < 8 << 30 {
            assert!(bytes / chunk_bytes(bytes) >= 8, "{bytes}");
            bytes += bytes / 7;
        }
        assert_eq!(chunk_bytes(1 << 20), CHUNK_BYTES_FAIR);
        assert_eq!(chunk_bytes(1 << 30), CHUNK_BYTES_MAX);
    }

    #[test]
    fn a_budget_is_spent_and_not_overspent() {
        for bytes in [1 << 20, 64 << 20, 3_000_000_001] {
            let budget = Budget::of(bytes);
            assert_eq!(budget.table_bytes + budget.arena_bytes, bytes);
            let (buckets, doorkeeper) = table_parts(budget.table_bytes);
            assert!(buckets * 64 + doorkeeper * 2 <= budget.table_bytes);
            let per_bucket = budget.arena_bytes / buckets;
            assert!((500..540).contains(&per_bucket), "{per_bucket}");
        }
    }
}
