//! Asking one node, and all of them.

use std::collections::BTreeMap;
use std::thread;

use serde::de::DeserializeOwned;
use trilith::command::Reply;

use super::args::At;
use super::client::{Client, Patience, in_words};
use super::id::Id;
use super::problem::Problem;
use super::status::{CopyStatus, Member, Progress, Status, Trouble};

/// A cluster, by one of its nodes.
pub struct Cluster {
    /// The node's address.
    pub at: String,
    patience: Patience,
}

impl Cluster {
    /// The cluster of the node that the command line names.
    pub fn at(at: &At) -> Self {
        Self {
            at: at.at.clone(),
            patience: Patience::default(),
        }
    }

    /// What the node that was named says.
    pub fn status(&self) -> Result<Status, Problem> {
        let answer = self.answer(&self.at, &["RING", "STATUS"]);
        let text = answer.map_err(|why| self.unanswered(&self.at, &why))?;
        let status = read_status(&text).map_err(|why| self.unreadable(&why))?;
        status.ok_or_else(|| {
            Problem::failed(
                format!("The node at {} knows of no cluster yet.", self.at),
                "If it is to join one, see in its log whom it tries to reach; else wait a second",
            )
        })
    }

    /// What every node says, as far as they answer.
    pub fn survey(&self) -> Result<Survey, Problem> {
        let status = self.status()?;
        let mut heard = self.ask_members(&status, &["RING", "STATUS"], |member, text| {
            let status = read_status(text)?.ok_or("it knows of no cluster yet")?;
            if status.me == member.id {
                return Ok(status);
            }
            Err(format!("another node, {}, answers there", status.me))
        });
        heard.insert(status.me, Ok(status.clone()));
        Ok(Survey { status, heard })
    }

    /// The copies that every node has, as far as they answer.
    pub fn copies(&self, status: &Status) -> BTreeMap<Id, Result<Vec<CopyStatus>, String>> {
        self.ask_members(status, &["RING", "RANGES"], |_, text| read(text))
    }

    /// Has the node at `address` do something.
    pub fn order(&self, address: &str, words: &[&str], doing: &str) -> Result<(), Problem> {
        let mut client = Client::connect(address, self.patience)
            .map_err(|error| self.unanswered(address, &Why::Silent(in_words(&error))))?;
        match client.ask(words) {
            Ok(Reply::Error(text)) if is_no_cluster(&text) => {
                Err(self.unanswered(address, &Why::Refused(text.to_string())))
            }
            Ok(Reply::Error(text)) => Err(Problem::failed(
                format!("{doing} was refused by {address}: {text}."),
                format!("See how the cluster is: trilith cluster status --at {address}"),
            )),
            Ok(_) => Ok(()),
            Err(error) => Err(Problem::failed(
                format!(
                    "{doing} may or may not happen: {address} was asked, but {}.",
                    in_words(&error)
                ),
                format!(
                    "See whether it has: trilith cluster status --at {address}; it can be asked for again"
                ),
            )),
        }
    }

    /// Asks all members at once: one that is dead costs its time only once.
    fn ask_members<T: Send>(
        &self,
        status: &Status,
        words: &[&str],
        read: impl Fn(&Member, &str) -> Result<T, String> + Copy + Send + Sync,
    ) -> BTreeMap<Id, Result<T, String>> {
        thread::scope(|scope| {
            let ask = |member: &'_ Member| {
                let is_named = member.id == status.me;
                // It may be announced under a name that is not known here.
                let address = if is_named { &self.at } else { &member.address };
                let text = self.answer(address, words).map_err(Why::into_text)?;
                read(member, &text)
            };
            let asked: Vec<_> = status
                .members
                .iter()
                .map(|member| (member.id, scope.spawn(move || ask(member))))
                .collect();
            let answered = asked.into_iter().map(|(id, asked)| {
                let lost = || Err("the question was not put".to_owned());
                (id, asked.join().unwrap_or_else(|_| lost()))
            });
            answered.collect()
        })
    }

    fn answer(&self, address: &str, words: &[&str]) -> Result<String, Why> {
        let silent = |error| Why::Silent(in_words(&error));
        let mut client = Client::connect(address, self.patience).map_err(silent)?;
        match client.ask(words).map_err(silent)? {
            Reply::Bulk(text) => Ok(String::from_utf8_lossy(&text).into_owned()),
            Reply::Simple(text) => Ok(text.to_string()),
            Reply::Error(text) => Err(Why::Refused(text.to_string())),
            _ => Err(Why::Refused("an answer of another kind".to_owned())),
        }
    }

    fn unanswered(&self, address: &str, why: &Why) -> Problem {
        match why {
            Why::Silent(why) => Problem::failed(
                format!("The node at {address} cannot be asked: {why}."),
                "Name another node with --at HOST:PORT, or see in the log of this one whether it runs",
            ),
            Why::Refused(text) if is_no_cluster(text) => Problem::failed(
                format!("The node at {address} is in no cluster ({text})."),
                "See that it is a node of Trilith's, or name another with --at HOST:PORT",
            ),
            Why::Refused(text) => Problem::failed(
                format!("The node at {address} does not say how the cluster is: {text}."),
                "Name another node with --at HOST:PORT",
            ),
        }
    }

    fn unreadable(&self, why: &str) -> Problem {
        Problem::failed(
            format!(
                "What the node at {} says is not understood: {why}.",
                self.at
            ),
            "Use the `trilith` of the version that the node runs",
        )
    }
}

/// Why a node has not answered what was asked.
enum Why {
    Silent(String),
    Refused(String),
}

impl Why {
    fn into_text(self) -> String {
        match self {
            Self::Silent(text) | Self::Refused(text) => text,
        }
    }
}

fn is_no_cluster(text: &str) -> bool {
    [
        "unknown command",
        "cluster support disabled",
        "in no cluster",
    ]
    .iter()
    .any(|words| text.contains(words))
}

fn read<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

/// `None` from a node that has not heard of its cluster: it has nothing to say yet.
fn read_status(text: &str) -> Result<Option<Status>, String> {
    let value: serde_json::Value = read(text)?;
    if value["members"].as_array().is_some_and(Vec::is_empty) {
        return Ok(None);
    }
    serde_json::from_value(value)
        .map(Some)
        .map_err(|error| error.to_string())
}

/// What every node says.
pub struct Survey {
    /// What the node that was asked first says.
    pub status: Status,
    /// What each member says, or why it says nothing.
    pub heard: BTreeMap<Id, Result<Status, String>>,
}

impl Survey {
    /// How many ranges there are: every arc has a node that is asked for it, and meta comes on top.
    pub fn ranges(&self) -> u64 {
        let arcs: u64 = self
            .status
            .members
            .iter()
            .map(|member| member.masters)
            .sum();
        arcs + 1
    }

    /// All nodes' progress. A range that is just passing from one master to another, and is told of by both, counts
    /// once.
    pub fn progress(&self) -> Progress {
        let mut total = Progress::default();
        for status in self.heard.values().flatten() {
            total += status.progress;
        }
        let twice = total.mastered.saturating_sub(self.ranges());
        Progress {
            mastered: total.mastered - twice,
            in_place: total.in_place.saturating_sub(twice),
            ..total
        }
    }

    /// Ranges whose master is not among those who answer.
    pub fn without_master(&self) -> u64 {
        self.ranges().saturating_sub(self.progress().mastered)
    }

    /// The newest map that anybody knows.
    pub fn version(&self) -> u64 {
        let versions = self.heard.values().flatten().map(|status| status.version);
        versions.max().unwrap_or(self.status.version)
    }

    /// Whether every range is where the newest map wants it. A node that is silent does not keep it from that.
    pub fn is_settled(&self) -> bool {
        let version = self.version();
        let agreed = self
            .heard
            .values()
            .flatten()
            .all(|status| status.version == version);
        let progress = self.progress();
        agreed
            && self.without_master() == 0
            && progress.moving == 0
            && progress.in_place >= progress.mastered
    }

    /// What keeps a member from taking writes, if it says so.
    pub fn trouble(&self, member: Id) -> Option<&Trouble> {
        let heard = self.heard.get(&member)?.as_ref().ok()?;
        heard.trouble.as_ref()
    }

    /// How many members say that they take no writes.
    pub fn troubled(&self) -> u64 {
        let members = self.heard.keys();
        members.filter(|&&id| self.trouble(id).is_some()).count() as u64
    }

    /// Whether, besides, every member is there and takes writes.
    pub fn is_complete(&self) -> bool {
        let is_there = |member: &Member| {
            !member.silent && self.heard.get(&member.id).is_some_and(Result::is_ok)
        };
        self.troubled() == 0 && self.is_settled() && self.status.members.iter().all(is_there)
    }

    /// Whether a member neither answers nor is heard of.
    pub fn is_dead(&self, member: &Member) -> bool {
        member.silent && self.heard.get(&member.id).is_none_or(Result::is_err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_without_a_map_has_no_status() {
        let text = r#"{"me":"4f2a9c01d3e58b76","version":0,"quorum":null,"moving":null,"members":[],
            "progress":{"mastered":0,"in_place":0,"moving":0,"sent_bytes":0}}"#;
        assert_eq!(read_status(text), Ok(None));
        assert!(read_status("{}").is_err());
        assert!(read_status("PONG").is_err());
    }

    #[test]
    fn a_range_that_two_say_to_master_counts_once() {
        let status = |me: &str, mastered: u64| {
            let json = format!(
                r#"{{"me":"{me}","version":7,"quorum":{{"n":3,"w":2,"r":2}},
                "moving":{{"paused":false,"bytes_per_second":1,"at_once":4}},
                "members":[{{"id":"{me}","address":"127.0.0.1:7001","masters":256}}],
                "progress":{{"mastered":{mastered},"in_place":{mastered},"moving":0,"sent_bytes":9}}}}"#
            );
            serde_json::from_str::<Status>(&json).unwrap()
        };
        let (one, other) = (
            status("0000000000000001", 130),
            status("0000000000000002", 128),
        );
        let survey = Survey {
            heard: [(one.me, Ok(one.clone())), (other.me, Ok(other))].into(),
            status: one,
        };
        let progress = survey.progress();
        assert_eq!((progress.mastered, progress.in_place), (257, 257));
        assert_eq!(progress.sent_bytes, 18);
    }

    #[test]
    fn where_nobody_listens_is_said_with_what_to_do() {
        let at = At {
            at: "127.0.0.1:1".into(),
            json: false,
        };
        let problem = Cluster::at(&at).status().unwrap_err();
        assert_eq!(problem.exit_code(), 1);
        assert_eq!(
            problem.failure.what,
            "The node at 127.0.0.1:1 cannot be asked: nobody listens there."
        );
        assert!(
            problem.failure.remedy.contains("--at HOST:PORT"),
            "{problem}"
        );
    }
}
