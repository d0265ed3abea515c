//! t
/// t
pub struct FaultyStorage;
