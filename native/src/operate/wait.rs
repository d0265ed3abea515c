//! Waiting until the cluster has done what it was told.

use std::thread::sleep;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::args::Wait;
use super::problem::Problem;
use super::show;
use super::survey::{Cluster, Survey};
use crate::server::human;

/// How often the nodes are asked.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long a new map may take to be seen; longer if there is none, as nothing had to change.
const HEED: Duration = Duration::from_secs(3);

/// How long the node that is asked may be away.
const AWAY: Duration = Duration::from_secs(15);

/// How often in a row all has to be in place: a master that has just changed says so a moment later.
const LOOKS: u32 = 2;

/// Waits until every range is where the map wants it that comes after the one of version `before`. `None` if
/// nobody wants to wait.
pub fn until_settled(
    cluster: &Cluster,
    before: u64,
    doing: &str,
    wait: Wait,
) -> Result<Option<Survey>, Problem> {
    if wait.no_wait {
        return Ok(None);
    }
    let bar = Bar::new(doing);
    let start = Instant::now();
    let mut heard = start;
    let mut looks = 0;
    loop {
        match cluster.survey() {
            Err(problem) if heard.elapsed() > AWAY => return Err(problem),
            Err(_) => looks = 0,
            Ok(survey) => {
                heard = Instant::now();
                bar.show(&survey);
                let heeded = survey.version() > before || start.elapsed() > HEED;
                let done = heeded && survey.is_settled();
                looks = if done { looks + 1 } else { 0 };
                if looks == LOOKS {
                    return Ok(Some(survey));
                }
                // The node that is asked may be the last to hear that moving goes on.
                let has_heard = survey.status.version > before || start.elapsed() > HEED;
                if has_heard && !done && survey.status.moving.paused {
                    return Err(paused(cluster, &survey));
                }
            }
        }
        if let Some(limit) = wait.limit()
            && start.elapsed() >= limit
        {
            return Err(Problem::failed(
                format!(
                    "{doing} is not done after {} s; it goes on by itself.",
                    limit.as_secs()
                ),
                format!(
                    "See how far it is: trilith cluster status --watch --at {}",
                    cluster.at
                ),
            ));
        }
        sleep(LOOK_EVERY);
    }
}

fn paused(cluster: &Cluster, survey: &Survey) -> Problem {
    Problem::failed(
        format!("Moving is paused: {}.", show::verdict(survey).0),
        format!(
            "Let it go on: trilith cluster rebalance --at {}",
            cluster.at
        ),
    )
}

/// Shows how far it is, where somebody looks.
struct Bar {
    bar: ProgressBar,
    start: Instant,
}

impl Bar {
    fn new(doing: &str) -> Self {
        let bar = ProgressBar::new(0);
        bar.set_draw_target(ProgressDrawTarget::stderr());
        let template = "{msg} {wide_bar} {pos} of {len} ranges in place{prefix}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(doing.to_owned());
        let start = Instant::now();
        Self { bar, start }
    }

    fn show(&self, survey: &Survey) {
        let progress = survey.progress();
        self.bar.set_length(survey.ranges());
        self.bar.set_position(progress.in_place);
        let seconds = self.start.elapsed().as_secs();
        let sent = human(progress.sent_bytes);
        let moving = progress.moving;
        self.bar
            .set_prefix(format!(", {moving} moving, {sent} sent, {seconds} s"));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
