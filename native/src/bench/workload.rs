//! The workloads by name, and what each of them does with each operation.

use std::fmt;
use std::str::FromStr;

/// A workload: db_bench's by their names there, and YCSB's six.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Workload {
    /// Every key once, in order, into an empty store.
    FillSeq,
    /// Every key once, in no order, into an empty store.
    FillRandom,
    /// Random keys that are there.
    Overwrite,
    /// Random keys that are there.
    ReadRandom,
    /// Random keys out of the first hundredth.
    ReadHot,
    /// Keys that are not there, between keys that are.
    ReadMissing,
    /// One walk over everything, by every thread.
    ReadSeq,
    /// A seek to a random key and ten pairs from there.
    SeekRandom,
    /// Random reads, with one more thread that overwrites.
    ReadWhileWriting,
    /// Every key once, in no order.
    DeleteRandom,
    /// Half reads, half updates.
    #[serde(rename = "ycsb-a")]
    YcsbA,
    /// 95 % reads, 5 % updates.
    #[serde(rename = "ycsb-b")]
    YcsbB,
    /// Reads only.
    #[serde(rename = "ycsb-c")]
    YcsbC,
    /// 95 % reads of what was inserted last, 5 % inserts.
    #[serde(rename = "ycsb-d")]
    YcsbD,
    /// 95 % scans of 1 to 100 pairs, 5 % inserts.
    #[serde(rename = "ycsb-e")]
    YcsbE,
    /// Half reads, half reads that write back.
    #[serde(rename = "ycsb-f")]
    YcsbF,
}

use Workload::*;

/// Every workload, in the order in which they make sense one after the other.
pub const ALL: [(Workload, &str); 16] = [
    (FillSeq, "fillseq"),
    (FillRandom, "fillrandom"),
    (Overwrite, "overwrite"),
    (ReadRandom, "readrandom"),
    (ReadHot, "readhot"),
    (ReadMissing, "readmissing"),
    (ReadSeq, "readseq"),
    (SeekRandom, "seekrandom"),
    (ReadWhileWriting, "readwhilewriting"),
    (YcsbA, "ycsb-a"),
    (YcsbB, "ycsb-b"),
    (YcsbC, "ycsb-c"),
    (YcsbD, "ycsb-d"),
    (YcsbE, "ycsb-e"),
    (YcsbF, "ycsb-f"),
    (DeleteRandom, "deleterandom"),
];

impl Workload {
    /// The name on the command line and in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        ALL.iter()
            .find(|(workload, _)| *workload == self)
            .map_or("?", |(_, name)| name)
    }

    /// Whether it starts with an empty store and writes every key once.
    #[must_use]
    pub fn fills(self) -> bool {
        matches!(self, FillSeq | FillRandom)
    }

    /// Whether it changes the store.
    #[must_use]
    pub fn writes(self) -> bool {
        !matches!(
            self,
            ReadRandom | ReadHot | ReadMissing | ReadSeq | SeekRandom | YcsbC
        )
    }

    /// Whether reads and writes are mixed, so that their latencies are worth telling apart.
    #[must_use]
    pub fn mixes(self) -> bool {
        matches!(
            self,
            ReadWhileWriting | YcsbA | YcsbB | YcsbD | YcsbE | YcsbF
        )
    }

    /// How many of 100 operations are what the workload is named for, the others being writes.
    pub(super) fn reads_of_100(self) -> u64 {
        match self {
            YcsbA | YcsbF => 50,
            YcsbB | YcsbD | YcsbE => 95,
            _ => 100,
        }
    }

    /// Whether keys are chosen with a skew.
    #[must_use]
    pub fn is_skewed(self) -> bool {
        matches!(self, YcsbA | YcsbB | YcsbC | YcsbD | YcsbE | YcsbF)
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Workload {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = ALL.iter().find(|(_, name)| *name == text);
        known.map(|(workload, _)| *workload).ok_or_else(|| {
            let names = ALL.map(|(_, name)| name).join(" ");
            format!("no workload is called {text:?}; there are: {names}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_workload_is_found_by_its_name_and_has_that_name_in_json() {
        for (workload, name) in ALL {
            assert_eq!(name.parse(), Ok(workload));
            assert_eq!(
                serde_json::to_string(&workload).unwrap(),
                format!("{name:?}")
            );
        }
        assert!("fillqueue".parse::<Workload>().is_err());
    }
}
