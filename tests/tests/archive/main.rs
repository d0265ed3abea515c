//! The archive with Redis's own programs: what we write is read by them, and what they write by us.

mod backup;
mod commands;
mod export;
mod files;
mod from_redis;
mod keys;
mod live;
mod map;
mod recovery;
mod seconds;
mod to_redis;
mod tools;
