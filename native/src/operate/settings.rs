//! N, W and R, and how copies are moved.

use serde_json::json;
use trilith::ring::Quorum;

use super::Answer;
use super::args::{At, RateArgs, RebalanceArgs, SetArgs};
use super::problem::Problem;
use super::show;
use super::status::{Moving, Triple};
use super::survey::Cluster;
use super::wait::until_settled;

/// Changes N, W and R; what is not named stays.
pub fn set(args: &SetArgs) -> Result<Answer, Problem> {
    let cluster = Cluster::at(&args.at);
    let status = cluster.status()?;
    let now = status.quorum;
    let wanted = Triple {
        n: args.n.unwrap_or(now.n),
        w: args.w.unwrap_or(now.w),
        r: args.r.unwrap_or(now.r),
    };
    let quorum = Quorum::new(wanted.n, wanted.w, wanted.r).map_err(|_| {
        Problem::usage(
            format!("{wanted} cannot be: W and R go from 1 to N, and N from 1 to 9."),
            format!("Name all three; the cluster has {now}"),
        )
    })?;
    let [n, w, r] = [wanted.n, wanted.w, wanted.r].map(|number| number.to_string());
    let doing = format!("Setting {wanted}");
    cluster.order(&cluster.at, &["RING", "QUORUM", &n, &w, &r], &doing)?;
    let survey = until_settled(&cluster, status.version, &doing, args.wait)?;
    let mut text = match &survey {
        Some(_) => format!("{wanted} holds for every range.\n"),
        None => format!("{wanted} is set, and the ranges follow.\n"),
    };
    text.push_str(promise(quorum));
    text.push('\n');
    if let Some(shortage) = survey.and_then(|survey| show::shortage(&survey.status)) {
        text.push_str(&shortage);
        text.push('\n');
    }
    let json = json!({"quorum": wanted, "done": !args.wait.no_wait});
    Ok(Answer { text, json })
}

/// What the quorums mean to who uses them.
fn promise(quorum: Quorum) -> &'static str {
    match (quorum.writes_survive(), quorum.reads_are_strong()) {
        (true, true) => {
            "Reads see every acknowledged write, and such writes survive the loss of a master."
        }
        (true, false) => "Acknowledged writes survive the loss of a master. Reads may be stale.",
        (false, _) => "Acknowledged writes may be lost with a master, and reads may be stale.",
    }
}

/// Changes how fast copies are moved; what is not named stays.
pub fn rate(args: &RateArgs) -> Result<Answer, Problem> {
    let cluster = Cluster::at(&args.at);
    if args.bytes_per_second == Some(0) {
        return Err(Problem::usage(
            "At no bytes a second nothing would ever be moved.",
            format!("To stop moving: trilith cluster pause --at {}", cluster.at),
        ));
    }
    let now = cluster.status()?.moving;
    let moving = Moving {
        paused: now.paused,
        bytes_per_second: args.bytes_per_second.unwrap_or(now.bytes_per_second),
        at_once: args.at_once.unwrap_or(now.at_once),
    };
    let bytes = moving.bytes_per_second.to_string();
    let at_once = moving.at_once.to_string();
    let words = ["RING", "MOVING", "RATE", &bytes, &at_once];
    cluster.order(&cluster.at, &words, "Changing how fast copies are moved")?;
    Ok(Answer {
        text: format!("copies are moved at {}", show::speed(&moving)),
        json: json!({"moving": moving}),
    })
}

/// Begins no more moves.
pub fn pause(at: &At) -> Result<Answer, Problem> {
    let cluster = Cluster::at(at);
    cluster.order(&cluster.at, &["RING", "MOVING", "PAUSE"], "Pausing")?;
    Ok(Answer {
        text: format!(
            "No more moves are begun; what was begun ends. To go on: trilith cluster resume --at {}",
            cluster.at
        ),
        json: json!({"paused": true}),
    })
}

/// Goes on.
pub fn resume(at: &At) -> Result<Answer, Problem> {
    let cluster = Cluster::at(at);
    cluster.order(&cluster.at, &["RING", "MOVING", "RESUME"], "Resuming")?;
    Ok(Answer {
        text: format!(
            "Copies are moved again. See how far it is: trilith cluster status --watch --at {}",
            cluster.at
        ),
        json: json!({"paused": false}),
    })
}

/// Waits for what the cluster does by itself, after a pause too.
pub fn rebalance(args: &RebalanceArgs) -> Result<Answer, Problem> {
    let cluster = Cluster::at(&args.at);
    let survey = cluster.survey()?;
    let newest = survey.version();
    // A map that nobody has changed need not become newer.
    let mut before = newest.saturating_sub(1);
    // Whoever has not heard the latest news may not know of a pause.
    if survey.status.moving.paused || survey.status.version < newest {
        cluster.order(&cluster.at, &["RING", "MOVING", "RESUME"], "Resuming")?;
        before = newest;
    }
    let survey = until_settled(&cluster, before, "Rebalancing", args.wait)?;
    let text = match &survey {
        Some(survey) => format!("{}\n", show::verdict(survey).0),
        None => format!(
            "Copies are moved. See how far it is: trilith cluster status --watch --at {}\n",
            cluster.at
        ),
    };
    let json = json!({"done": survey.is_some()});
    Ok(Answer { text, json })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operate::args::Wait;
    use crate::operate::testing::FakeCluster;

    fn setting(cluster: &FakeCluster, w: u8, r: u8) -> Result<Answer, Problem> {
        set(&SetArgs {
            n: None,
            w: Some(w),
            r: Some(r),
            at: cluster.at(),
            wait: Wait::default(),
        })
    }

    #[test]
    fn what_is_not_named_stays() {
        let cluster = FakeCluster::new(3);
        let answer = setting(&cluster, 1, 1).unwrap();
        assert_eq!(cluster.orders(), ["0: RING QUORUM 3 1 1"]);
        assert!(
            answer.text.contains("may be lost with a master"),
            "{}",
            answer.text
        );
        let speed = RateArgs {
            bytes_per_second: None,
            at_once: Some(9),
            at: cluster.at(),
        };
        rate(&speed).unwrap();
        assert_eq!(cluster.orders()[1..], ["0: RING MOVING RATE 67108864 9"]);
    }

    #[test]
    fn quorums_that_cannot_be_are_not_sent() {
        let cluster = FakeCluster::new(3);
        let problem = setting(&cluster, 4, 1).map(drop).unwrap_err();
        assert_eq!(problem.exit_code(), 2);
        assert_eq!(
            problem.failure.what,
            "N 3, W 4, R 1 cannot be: W and R go from 1 to N, and N from 1 to 9."
        );
        assert_eq!(cluster.orders(), [""; 0]);
    }

    #[test]
    fn to_wait_for_a_paused_cluster_fails_at_once() {
        let cluster = FakeCluster::new(3);
        pause(&cluster.at()).unwrap();
        cluster.unsettle(1000);
        let problem = setting(&cluster, 2, 2).map(drop).unwrap_err();
        assert!(
            problem.failure.what.starts_with("Moving is paused"),
            "{problem}"
        );
        assert!(
            problem.failure.remedy.contains("cluster rebalance"),
            "{problem}"
        );
    }

    #[test]
    fn rebalancing_resumes_and_waits() {
        let cluster = FakeCluster::new(3);
        pause(&cluster.at()).unwrap();
        cluster.unsettle(2);
        let args = RebalanceArgs {
            at: cluster.at(),
            wait: Wait::default(),
        };
        let answer = rebalance(&args).unwrap();
        assert_eq!(answer.text, "all 3 ranges are in place\n");
        assert_eq!(
            cluster.orders(),
            ["0: RING MOVING PAUSE", "0: RING MOVING RESUME"]
        );
    }

    #[test]
    fn a_refusal_is_told_with_what_was_tried() {
        let cluster = FakeCluster::new(3);
        cluster.refuse("ERR not now");
        let problem = pause(&cluster.at()).map(drop).unwrap_err();
        assert_eq!(
            problem.failure.what,
            format!(
                "Pausing was refused by {}: ERR not now.",
                cluster.address(0)
            )
        );
        cluster.refuse("ERR unknown command 'RING'");
        let problem = pause(&cluster.at()).map(drop).unwrap_err();
        assert!(
            problem.failure.what.contains("is in no cluster"),
            "{problem}"
        );
    }
}
