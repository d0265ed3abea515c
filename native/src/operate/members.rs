//! Members that go: drained first, or dead.

use serde_json::json;
use trilith::ring::Quorum;

use super::Answer;
use super::args::{DrainArgs, RemoveArgs};
use super::id::{Id, RangeName, resolve};
use super::problem::Problem;
use super::ranges::{Ranges, name_some};
use super::show::{self, count};
use super::status::Member;
use super::survey::{Cluster, Survey};
use super::wait::until_settled;

/// Moves everything away from a node.
pub fn drain(args: &DrainArgs) -> Result<Answer, Problem> {
    let cluster = Cluster::at(&args.at);
    let status = cluster.status()?;
    let id = resolve(&args.node, &status.members, &cluster.at)?;
    let doing = format!("Draining {id}");
    cluster.order(&cluster.at, &["RING", "DRAIN", &id.to_string()], &doing)?;
    let survey = until_settled(&cluster, status.version, &doing, args.wait)?;
    let mut text = match &survey {
        Some(_) => format!(
            "{id} holds nothing any more. Stop it, and then: trilith cluster remove {id} --yes --at {}\n",
            cluster.at
        ),
        None => format!(
            "{id} is being drained. See how far it is: trilith cluster status --watch --at {}\n",
            cluster.at
        ),
    };
    text.extend(survey.as_ref().and_then(shortage));
    let json = json!({"drained": id, "done": survey.is_some()});
    Ok(Answer { text, json })
}

/// Takes a node out of the map.
pub fn remove(args: &RemoveArgs) -> Result<Answer, Problem> {
    let cluster = Cluster::at(&args.at);
    let survey = cluster.survey()?;
    let id = resolve(&args.node, &survey.status.members, &cluster.at)?;
    if id == survey.status.me {
        return Err(Problem::usage(
            format!(
                "The node at {} is the one that is to be removed.",
                cluster.at
            ),
            "Ask one that stays, with --at HOST:PORT",
        ));
    }
    if !args.yes {
        let ranges = Ranges::ask(&cluster, &survey.status);
        return Err(Problem::usage(
            Loss::of(&survey, &ranges, id).text(),
            format!(
                "To do it: trilith cluster remove {id} --yes --at {}",
                cluster.at
            ),
        ));
    }
    let doing = format!("Removing {id}");
    cluster.order(&cluster.at, &["RING", "REMOVE", &id.to_string()], &doing)?;
    let settled = until_settled(&cluster, survey.status.version, &doing, args.wait)?;
    let mut text = match &settled {
        Some(_) => {
            format!("{id} is removed, and every range has the copies that it should have.\n")
        }
        None => format!(
            "{id} is removed. Its copies are made anew: trilith cluster status --watch --at {}\n",
            cluster.at
        ),
    };
    text.extend(settled.as_ref().and_then(shortage));
    let json = json!({"removed": id, "done": settled.is_some()});
    Ok(Answer { text, json })
}

fn shortage(survey: &Survey) -> Option<String> {
    show::shortage(&survey.status).map(|text| format!("{text}\n"))
}

/// What the removal of a node takes away.
struct Loss<'a> {
    member: Option<&'a Member>,
    id: Id,
    is_alive: bool,
    /// Ranges that it has a copy of.
    held: usize,
    /// Those of them that too few other copies are at hand of to elect a master.
    stuck: Vec<RangeName>,
    /// Those of them that no other copy is at hand of.
    alone: Vec<RangeName>,
    /// Ranges that no node which answers has.
    unknown: &'a [RangeName],
}

impl<'a> Loss<'a> {
    fn of(survey: &'a Survey, ranges: &'a Ranges, id: Id) -> Self {
        let mut loss = Self {
            member: survey.status.members.iter().find(|member| member.id == id),
            id,
            is_alive: survey.heard.get(&id).is_some_and(Result::is_ok),
            held: 0,
            stuck: Vec::new(),
            alone: Vec::new(),
            unknown: &ranges.lost,
        };
        for range in ranges.iter().filter(|range| range.is_of(id)) {
            let Some(told) = range.told() else {
                continue;
            };
            loss.held += 1;
            let mut others = range.voters_at_hand();
            others.remove(&id);
            let quorum = Quorum::new(told.quorum.n, told.quorum.w, told.quorum.r);
            let elect = quorum.map_or(1, Quorum::elect);
            if !told.voters.contains(&id) || others.len() >= usize::from(elect) {
                continue;
            }
            if others.is_empty() {
                loss.alone.push(range.name);
            } else {
                loss.stuck.push(range.name);
            }
        }
        loss
    }

    fn text(&self) -> String {
        let address = self.member.map_or("", |member| &member.address);
        let mut text = format!(
            "Nothing was done. Removing {} ({address}) is for good: ",
            self.id
        );
        text.push_str("it cannot come back under this id, and what is on its disk alone is lost. ");
        let copies = count(self.held as u64, "range");
        match self.held {
            0 => text.push_str("It has no copies."),
            _ => text.push_str(&format!(
                "It has copies of {copies}; new ones are made from the copies of others."
            )),
        }
        let is_drained = self.held == 0 && self.member.is_some_and(Member::is_draining);
        if self.is_alive && !is_drained {
            text.push_str(&format!(
                "\nIt is alive: `trilith cluster drain {}` first loses nothing.",
                self.id
            ));
        }
        if !self.alone.is_empty() {
            text.push_str(&format!(
                "\nLOST WITH IT: range {}, of which no other voter is at hand.",
                name_some(&self.alone)
            ));
        }
        if !self.stuck.is_empty() {
            text.push_str(&format!(
                "\nOut of service without it: range {}, of which too few others are at hand to elect a master.",
                name_some(&self.stuck)
            ));
        }
        if !self.unknown.is_empty() {
            text.push_str(&format!(
                "\nNo node that answers has a copy of range {}.",
                name_some(self.unknown)
            ));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operate::args::Wait;
    use crate::operate::testing::{FakeCluster, NODES};

    fn removal(cluster: &FakeCluster, node: &str, yes: bool) -> Result<Answer, Problem> {
        remove(&RemoveArgs {
            node: node.into(),
            yes,
            at: cluster.at(),
            wait: Wait::default(),
        })
    }

    #[test]
    fn draining_waits_until_everything_is_in_place() {
        let cluster = FakeCluster::new(3);
        cluster.unsettle(2);
        let answer = drain(&DrainArgs {
            node: "3c".into(),
            at: cluster.at(),
            wait: Wait::default(),
        })
        .unwrap();
        assert_eq!(cluster.orders(), ["0: RING DRAIN 3c00000000000003"]);
        assert_eq!(cluster.unsettled(), 0, "it has not waited");
        assert!(
            answer
                .text
                .starts_with("3c00000000000003 holds nothing any more."),
            "{}",
            answer.text
        );
    }

    #[test]
    fn who_does_not_wait_is_answered_at_once() {
        let cluster = FakeCluster::new(3);
        cluster.unsettle(1000);
        let wait = Wait {
            no_wait: true,
            timeout: None,
        };
        let node = "2b".into();
        let at = cluster.at();
        let answer = drain(&DrainArgs { node, at, wait }).unwrap();
        assert_eq!(answer.json["done"], false);
    }

    #[test]
    fn who_waits_in_vain_fails() {
        let cluster = FakeCluster::new(3);
        cluster.unsettle(1000);
        let wait = Wait {
            no_wait: false,
            timeout: Some(1),
        };
        let node = "2b".into();
        let at = cluster.at();
        let problem = drain(&DrainArgs { node, at, wait }).map(drop).unwrap_err();
        assert_eq!(problem.exit_code(), 1);
        assert!(
            problem.failure.what.contains("not done after 1 s"),
            "{problem}"
        );
    }

    #[test]
    fn nothing_is_removed_without_yes() {
        let cluster = FakeCluster::new(3);
        let problem = removal(&cluster, "3c", false).map(drop).unwrap_err();
        assert_eq!(problem.exit_code(), 2);
        assert_eq!(cluster.orders(), [""; 0]);
        let what = &problem.failure.what;
        assert!(what.contains("It has copies of 3 ranges"), "{what}");
        assert!(
            what.contains("It is alive: `trilith cluster drain 3c00000000000003` first"),
            "{what}"
        );
        assert!(!what.contains("LOST"), "{what}");
        assert!(problem.failure.remedy.contains("--yes"), "{problem}");
    }

    #[test]
    fn what_is_lost_with_a_node_is_said() {
        let cluster = FakeCluster::new(3);
        cluster.stop(1);
        let what = removal(&cluster, "3c", false)
            .map(drop)
            .unwrap_err()
            .failure
            .what;
        assert!(
            what.contains("Out of service without it: range 0, 1, meta"),
            "{what}"
        );
    }

    #[test]
    fn with_yes_it_is_removed() {
        let cluster = FakeCluster::new(3);
        cluster.stop(2);
        let answer = removal(&cluster, &NODES[2].to_string(), true).unwrap();
        assert_eq!(cluster.orders(), ["0: RING REMOVE 3c00000000000003"]);
        assert_eq!(answer.json["done"], true);
    }

    #[test]
    fn a_node_does_not_remove_itself() {
        let cluster = FakeCluster::new(3);
        let problem = removal(&cluster, "1a", true).map(drop).unwrap_err();
        assert_eq!(problem.exit_code(), 2);
        assert_eq!(cluster.orders(), [""; 0]);
    }
}
