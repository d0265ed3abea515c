//! A range's master: another one for now, or one again after too many copies were lost.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::json;
use trilith::ring::Quorum;

use super::Answer;
use super::args::{Lost, RecoverArgs, TransferArgs};
use super::id::{Id, RangeName, resolve};
use super::problem::Problem;
use super::ranges::{RangeView, Ranges, name_some};
use super::show::count;
use super::status::Status;
use super::survey::Cluster;

/// How long a change of master may take.
const SOON: Duration = Duration::from_secs(10);

const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Hands a range to another master.
pub fn transfer(args: &TransferArgs) -> Result<Answer, Problem> {
    let cluster = Cluster::at(&args.at);
    let status = cluster.status()?;
    let ranges = Ranges::ask(&cluster, &status);
    let title = ranges.title(args.range);
    let range = ranges.of_name(args.range);
    let Some((master, copy)) = range.and_then(RangeView::master) else {
        return Err(Problem::failed(
            format!("{title} cannot be handed over: no node that answers is its master."),
            format!(
                "See its copies: trilith cluster ranges {} --at {}",
                args.range, cluster.at
            ),
        ));
    };
    let word = args.to.as_deref();
    let to = word.map(|word| resolve(word, &status.members, &cluster.at));
    let to = to.transpose()?;
    if let Some(to) = to
        && !copy.voters.contains(&to)
    {
        let voters: Vec<String> = copy.voters.iter().map(ToString::to_string).collect();
        return Err(Problem::usage(
            format!("{to} does not vote in {title}."),
            format!("Name one of {}", voters.join(", ")),
        ));
    }
    if to == Some(master) {
        let text = format!("{master} is the master of {title} already.");
        let json = json!({"range": args.range, "master": master});
        return Ok(Answer { text, json });
    }
    let number = args.range.0.to_string();
    let to_text = to.map(|to| to.to_string());
    let words: Vec<&str> = ["RING", "TRANSFER", &number]
        .into_iter()
        .chain(to_text.as_deref())
        .collect();
    let doing = format!("Handing over {title}");
    cluster.order(&address_of(&cluster, &status, master), &words, &doing)?;
    let now = await_master(&cluster, &status, args.range, |now| now != master)?;
    let mut text = format!("{now} is the master of {title} now.");
    match copy.voters.first() {
        Some(first) if *first != now => {
            text.push_str(&format!(
                " Placement prefers {first}: it goes back there before long."
            ));
        }
        _ => {}
    }
    let json = json!({"range": args.range, "master": now});
    Ok(Answer { text, json })
}

fn address_of(cluster: &Cluster, status: &Status, node: Id) -> String {
    if node == status.me {
        return cluster.at.clone();
    }
    let member = status.members.iter().find(|member| member.id == node);
    member.map_or_else(|| cluster.at.clone(), |member| member.address.clone())
}

/// Waits until the range has a master that will do.
fn await_master(
    cluster: &Cluster,
    status: &Status,
    name: RangeName,
    will_do: impl Fn(Id) -> bool,
) -> Result<Id, Problem> {
    let start = Instant::now();
    loop {
        let ranges = Ranges::ask(cluster, status);
        let master = ranges.of_name(name).and_then(RangeView::master);
        if let Some((id, _)) = master
            && will_do(id)
        {
            return Ok(id);
        }
        if start.elapsed() > SOON {
            return Err(Problem::failed(
                format!(
                    "{} has not got another master within {} s.",
                    ranges.title(name),
                    SOON.as_secs()
                ),
                format!(
                    "See its copies: trilith cluster ranges {name} --at {}",
                    cluster.at
                ),
            ));
        }
        sleep(LOOK_EVERY);
    }
}

/// Makes one copy the whole range.
pub fn recover(args: &RecoverArgs) -> Result<Answer, Problem> {
    let cluster = Cluster::at(&args.at);
    let status = cluster.status()?;
    let ranges = Ranges::ask(&cluster, &status);
    let word = args.keep.as_deref();
    let keep = word.map(|word| resolve(word, &status.members, &cluster.at));
    let keep = keep.transpose()?;
    let plans = plans(&cluster, &ranges, args.range, keep)?;
    if plans.is_empty() {
        let text =
            "Every range that was found has a master: there is nothing to recover.".to_owned();
        let json = json!({"recovered": []});
        return Ok(Answer { text, json });
    }
    if !args.yes {
        return Err(Problem::usage(
            loss(&plans, &ranges, &status),
            "If those who are missing will not come back: the same with --yes",
        ));
    }
    for plan in &plans {
        let number = plan.range.name.0.to_string();
        let doing = format!("Recovering {}", ranges.title(plan.range.name));
        let address = address_of(&cluster, &status, plan.keep);
        cluster.order(&address, &["RING", "RECOVER", &number], &doing)?;
    }
    for plan in &plans {
        await_master(&cluster, &status, plan.range.name, |_| true)?;
    }
    let names: Vec<RangeName> = plans.iter().map(|plan| plan.range.name).collect();
    let text = format!(
        "Recovered, from one copy each: range {}. Now remove the nodes that will not come back, and add others: copies are made by themselves.",
        name_some(&names)
    );
    let json = json!({"recovered": names});
    Ok(Answer { text, json })
}

/// A range that is to be recovered, and the node whose copy it is to be.
struct Plan<'a> {
    range: &'a RangeView,
    keep: Id,
}

fn plans<'a>(
    cluster: &Cluster,
    ranges: &'a Ranges,
    what: Lost,
    keep: Option<Id>,
) -> Result<Vec<Plan<'a>>, Problem> {
    let mut plans = Vec::new();
    match what {
        Lost::All => {
            // Meta first: without it nobody can be removed, and nobody can join.
            for range in ranges.iter().filter(|range| range.master().is_none()) {
                let plan = Plan::new(cluster, ranges, range, keep)?;
                let at = if range.name == RangeName::META {
                    0
                } else {
                    plans.len()
                };
                plans.insert(at, plan);
            }
        }
        Lost::One(name) => {
            let title = ranges.title(name);
            let range = ranges.of_name(name).ok_or_else(|| {
                Problem::failed(
                    format!("{title} cannot be recovered: no node that answers has a copy."),
                    "Start a node that has one, or restore the keys from a backup",
                )
            })?;
            if let Some((master, _)) = range.master() {
                return Err(Problem::failed(
                    format!("{title} has a master, {master}: there is nothing to recover."),
                    "Nothing has to be done",
                ));
            }
            plans.push(Plan::new(cluster, ranges, range, keep)?);
        }
    }
    Ok(plans)
}

impl<'a> Plan<'a> {
    fn new(
        cluster: &Cluster,
        ranges: &Ranges,
        range: &'a RangeView,
        keep: Option<Id>,
    ) -> Result<Self, Problem> {
        let title = ranges.title(range.name);
        let see = format!(
            "See its copies: trilith cluster ranges {} --at {}",
            range.name, cluster.at
        );
        let whole: BTreeMap<Id, (u64, u64)> = range
            .copies
            .iter()
            .filter(|(_, copy)| !copy.is_void())
            .map(|(id, copy)| (*id, (copy.commit, copy.last)))
            .collect();
        if let Some(keep) = keep {
            return match whole.contains_key(&keep) {
                true => Ok(Self { range, keep }),
                false => Err(Problem::failed(
                    format!(
                        "{title} cannot be recovered from {keep}, which has no copy to rely on."
                    ),
                    see,
                )),
            };
        }
        // One copy may know of more that is committed and another have the longer log. Which of them has what was
        // acknowledged cannot be told from here.
        let most = |figure: fn(&(u64, u64)) -> u64| whole.values().map(figure).max().unwrap_or(0);
        let best = (most(|copy| copy.0), most(|copy| copy.1));
        let best = whole.iter().find(|(_, copy)| **copy == best);
        match best {
            Some((&keep, _)) => Ok(Self { range, keep }),
            None if whole.is_empty() => Err(Problem::failed(
                format!("{title} cannot be recovered: every copy at hand is void."),
                "Start a node that has a good one, or restore the keys from a backup",
            )),
            None => Err(Problem::usage(
                format!(
                    "Of {title} no copy has both the longest log and the most that is committed."
                ),
                format!("{see}; then name the one to keep, with --keep ID"),
            )),
        }
    }
}

/// What is lost, for who has not said `--yes`.
fn loss(plans: &[Plan<'_>], ranges: &Ranges, status: &Status) -> String {
    let mut text = String::from("Nothing was done. ");
    match plans {
        [plan] => {
            let told = plan.range.told();
            let voters = told.map_or(0, |told| told.voters.len() as u64);
            text.push_str(&format!(
                "{} has no master; at hand: {} of {}.",
                ranges.title(plan.range.name),
                plan.range.voters_at_hand().len(),
                count(voters, "voter")
            ));
        }
        _ => {
            let names: Vec<RangeName> = plans.iter().map(|plan| plan.range.name).collect();
            text.push_str(&format!("Without a master: range {}.", name_some(&names)));
        }
    }
    let mut kept: BTreeMap<Id, u64> = BTreeMap::new();
    for plan in plans {
        *kept.entry(plan.keep).or_default() += 1;
    }
    for (node, number) in kept {
        let member = status.members.iter().find(|member| member.id == node);
        text.push_str(&format!(
            "\nThe copy on {node} ({}) would be all there is of {}.",
            member.map_or("", |member| &member.address),
            count(number, "range")
        ));
    }
    text.push_str(
        "\nLOST, for good: every write that only the missing copies have, acknowledged ones among them. They do not bring it back when they return.",
    );
    let electable = plans.iter().filter(|plan| could_elect(plan.range)).count();
    if electable > 0 {
        text.push_str(&format!(
            "\nOf {} enough voters are at hand to elect a master without loss: wait some seconds first, and read what their logs say.",
            count(electable as u64, "range")
        ));
    }
    text
}

fn could_elect(range: &RangeView) -> bool {
    range.told().is_some_and(|told| {
        let quorum = Quorum::new(told.quorum.n, told.quorum.w, told.quorum.r);
        quorum.is_ok_and(|quorum| range.voters_at_hand().len() >= usize::from(quorum.elect()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operate::testing::{FakeCluster, NODES};

    fn handed(cluster: &FakeCluster, range: u32, to: Option<&str>) -> Result<Answer, Problem> {
        transfer(&TransferArgs {
            range: RangeName(range),
            to: to.map(Into::into),
            at: cluster.at(),
        })
    }

    fn recovered(cluster: &FakeCluster, range: Lost, yes: bool) -> Result<Answer, Problem> {
        recover(&RecoverArgs {
            range,
            keep: None,
            yes,
            at: cluster.at(),
        })
    }

    #[test]
    fn a_range_is_handed_over_by_its_master() {
        let cluster = FakeCluster::new(3);
        let answer = handed(&cluster, 1, Some("3c")).unwrap();
        assert_eq!(cluster.orders(), ["1: RING TRANSFER 1 3c00000000000003"]);
        assert!(
            answer
                .text
                .starts_with("3c00000000000003 is the master of range 1 (slots 8192-16383) now."),
            "{}",
            answer.text
        );
        assert!(
            answer.text.contains("Placement prefers 1a00000000000001"),
            "{}",
            answer.text
        );
    }

    #[test]
    fn nobody_is_made_a_master_who_is_one_or_who_is_unknown() {
        let cluster = FakeCluster::new(3);
        assert!(
            handed(&cluster, 1, Some("2b"))
                .unwrap()
                .text
                .contains("already")
        );
        assert_eq!(
            handed(&cluster, 1, Some("ff"))
                .map(drop)
                .unwrap_err()
                .exit_code(),
            2
        );
        assert_eq!(cluster.orders(), [""; 0]);
    }

    #[test]
    fn a_range_with_a_master_is_not_recovered() {
        let cluster = FakeCluster::new(3);
        let one = Lost::One(RangeName(1));
        let problem = recovered(&cluster, one, true).map(drop).unwrap_err();
        assert!(
            problem.failure.what.contains("nothing to recover"),
            "{problem}"
        );
        assert!(recovered(&cluster, Lost::All, true).is_ok());
        assert_eq!(cluster.orders(), [""; 0]);
    }

    #[test]
    fn nothing_is_recovered_without_yes_and_the_loss_is_named() {
        let cluster = FakeCluster::new(3);
        cluster.stop(1);
        let one = Lost::One(RangeName(1));
        let problem = recovered(&cluster, one, false).map(drop).unwrap_err();
        assert_eq!(problem.exit_code(), 2);
        let what = problem.failure.what;
        assert!(
            what.contains("range 1 (slots 8192-16383) has no master; at hand: 2 of 3 voters."),
            "{what}"
        );
        assert!(what.contains("LOST, for good"), "{what}");
        assert!(
            what.contains("Of 1 range enough voters are at hand"),
            "{what}"
        );
        assert_eq!(cluster.orders(), [""; 0]);
    }

    #[test]
    fn the_copy_that_has_most_is_made_the_range() {
        let cluster = FakeCluster::new(3);
        cluster.stop(1);
        cluster.set_last(2, 99);
        let answer = recovered(&cluster, Lost::One(RangeName(1)), true).unwrap();
        assert_eq!(cluster.orders(), ["2: RING RECOVER 1"]);
        assert_eq!(answer.json["recovered"], json!([1]));
    }

    #[test]
    fn all_that_are_lost_are_recovered_meta_first() {
        let cluster = FakeCluster::new(3);
        cluster.depose();
        cluster.stop(1);
        cluster.stop(2);
        let answer = recovered(&cluster, Lost::All, true).unwrap();
        assert_eq!(
            cluster.orders(),
            [
                "0: RING RECOVER 4294967295",
                "0: RING RECOVER 0",
                "0: RING RECOVER 1"
            ]
        );
        assert!(answer.text.contains("range meta, 0, 1."), "{}", answer.text);
    }

    #[test]
    fn where_no_copy_is_the_best_somebody_has_to_choose() {
        let cluster = FakeCluster::new(3);
        cluster.stop(1);
        cluster.set_last(2, 99);
        cluster.set_commit(0, 50);
        let one = Lost::One(RangeName(1));
        let problem = recovered(&cluster, one, true).map(drop).unwrap_err();
        assert_eq!(problem.exit_code(), 2);
        assert!(problem.failure.remedy.contains("--keep ID"), "{problem}");
        let args = RecoverArgs {
            range: one,
            keep: Some(NODES[0].to_string()),
            yes: true,
            at: cluster.at(),
        };
        recover(&args).unwrap();
        assert_eq!(cluster.orders(), ["0: RING RECOVER 1"]);
    }
}
