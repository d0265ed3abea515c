//! What a node says of the cluster, as it comes in JSON.
//!
//! Fields that a node of another version leaves out are taken as empty, where nothing is decided by them.

use serde::{Deserialize, Serialize};

use super::id::{Id, RangeName};

/// The answer to `RING STATUS`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The node that answers.
    pub me: Id,
    /// Of the map that it knows.
    pub version: u64,
    /// N, W and R.
    pub quorum: Triple,
    /// How copies are moved.
    pub moving: Moving,
    /// The nodes of the map; empty as long as it knows none.
    pub members: Vec<Member>,
    /// How far the ranges are that it masters.
    pub progress: Progress,
    /// What keeps it from taking writes.
    #[serde(default)]
    pub trouble: Option<Trouble>,
}

/// What keeps a node from taking writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// It has to be started again; else it goes on by itself.
    pub stopped: bool,
    /// Its disk is full.
    pub full: bool,
    /// What has happened.
    pub what: String,
}

/// N, W and R.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Triple {
    /// Copies of each range.
    pub n: u8,
    /// Copies that store a write before it is acknowledged.
    pub w: u8,
    /// Copies that a read hears.
    pub r: u8,
}

impl std::fmt::Display for Triple {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "N {}, W {}, R {}", self.n, self.w, self.r)
    }
}

/// How copies are moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moving {
    /// Nothing new is begun.
    pub paused: bool,
    /// What a node sends at most.
    pub bytes_per_second: u64,
    /// Ranges that a node moves at a time, at most.
    pub at_once: u16,
}

/// A node of the map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its id.
    pub id: Id,
    /// Where clients reach it.
    pub address: String,
    /// What fails together with it.
    #[serde(default)]
    pub zone: String,
    /// Its share, relative to that of others.
    #[serde(default = "one")]
    pub weight: u32,
    /// `active` or `draining`.
    #[serde(default)]
    pub state: String,
    /// Whether the node that answers has heard nothing of it for longer than an election takes.
    #[serde(default)]
    pub silent: bool,
    /// Arcs whose master it is or should be.
    #[serde(default)]
    pub masters: u64,
    /// Copies that it should hold.
    #[serde(default)]
    pub copies: u64,
}

fn one() -> u32 {
    1
}

impl Member {
    /// Whether it is to give up all that it holds.
    pub fn is_draining(&self) -> bool {
        self.state == "draining"
    }
}

/// How far ranges are from where the map wants them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Ranges that are mastered, meta among them.
    pub mastered: u64,
    /// Those of them that are where the map wants them.
    pub in_place: u64,
    /// Those of them that have copies which are catching up.
    pub moving: u64,
    /// Bytes that copies elsewhere were made of.
    #[serde(default)]
    pub sent_bytes: u64,
}

impl std::ops::AddAssign for Progress {
    fn add_assign(&mut self, other: Self) {
        self.mastered += other.mastered;
        self.in_place += other.in_place;
        self.moving += other.moving;
        self.sent_bytes += other.sent_bytes;
    }
}

/// One of the answers to `RING RANGES`: a copy of a range, as the node that holds it sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyStatus {
    /// The range.
    pub range: RangeName,
    /// `master`, `voter`, `learner`, `candidate` or `void`.
    pub role: String,
    /// Its master, as far as this copy knows.
    pub master: Option<Id>,
    /// The term.
    pub term: u64,
    /// The index of the last entry.
    pub last: u64,
    /// What is known to be committed.
    pub commit: u64,
    /// What has been applied.
    pub applied: u64,
    /// Who votes, the preferred master first.
    pub voters: Vec<Id>,
    /// Who learns.
    #[serde(default)]
    pub learners: Vec<Id>,
    /// N, W and R.
    #[serde(flatten)]
    pub quorum: Triple,
    /// Writes that came to this node for it.
    #[serde(default)]
    pub writes: u64,
    /// Reads likewise.
    #[serde(default)]
    pub reads: u64,
}

impl CopyStatus {
    /// Whether it answers for the range.
    pub fn is_master(&self) -> bool {
        self.role == "master"
    }

    /// Whether it holds nothing that can be relied on.
    pub fn is_void(&self) -> bool {
        self.role == "void"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_as_nodes_write_it() {
        let json = r#"{"me":"4f2a9c01d3e58b76","version":7,"quorum":{"n":3,"w":2,"r":2},
            "moving":{"paused":false,"bytes_per_second":67108864,"at_once":4},
            "members":[{"id":"4f2a9c01d3e58b76","address":"127.0.0.1:7001","zone":"a","weight":1,
            "state":"draining","silent":false,"masters":86,"copies":256}],
            "progress":{"mastered":86,"in_place":85,"moving":1,"sent_bytes":1000}}"#;
        let status: Status = serde_json::from_str(json).unwrap();
        assert_eq!(status.me, status.members[0].id);
        assert!(status.members[0].is_draining());
        assert_eq!(status.progress.in_place, 85);
    }

    #[test]
    fn a_copy_is_read_with_ids_in_hex_and_in_decimal() {
        let copy = |id: &str| {
            let json = format!(
                r#"{{"range":17,"role":"master","master":{id},"term":3,"last":10,"commit":9,"applied":9,
                "voters":[{id}],"learners":[],"n":1,"w":1,"r":1,"writes":5,"reads":6}}"#
            );
            serde_json::from_str::<CopyStatus>(&json).unwrap()
        };
        assert_eq!(copy("255"), copy("\"00000000000000ff\""));
        assert_eq!(copy("255").quorum, Triple { n: 1, w: 1, r: 1 });
    }
}
