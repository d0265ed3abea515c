//! The real server under load, killed again and again: nothing that was acknowledged is lost.
//!
//! Half of the kills come from outside, at random moments. The other half come from inside, where a kill
//! from outside seldom lands: in the middle of a flush, a compaction, a write to the log, a rotation and a
//! commit (`TRILITH_KILL_AT`, see `native/src/files/kill_point.rs`). After each kill the store is opened
//! again and every key compared.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod load;

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use load::{Dice, Load, SOON};
use trilith_tests::{Reply, Server, ServerOptions};

const CLIENTS: usize = 4;

/// Where the server kills itself, and at which times of getting there.
const POINTS: [(&str, [u64; 3]); 6] = [
    ("flush", [1, 2, 4]),
    ("compaction", [1, 4, 9]),
    ("log", [1, 100, 500]),
    ("rotation", [1, 2, 4]),
    ("prepare", [1, 3, 6]),
    ("commit", [1, 3, 6]),
];

/// How long a planned kill may take to come.
const PLANNED_WITHIN: Duration = Duration::from_secs(60);

struct Trial<'a> {
    data: &'a Path,
    loads: Vec<Load>,
    dice: Dice,
    kills: usize,
    died: Instant,
}

/// How a server's life ends.
#[derive(Clone, Copy, Debug)]
enum End {
    /// By `kill -9`, after so long.
    After(Duration),
    /// By its own hand, there.
    At(&'static str, u64),
}

impl Trial<'_> {
    /// One life of a server: it recovers, is compared, serves, and is killed. False if it did not live to
    /// serve.
    fn live(&mut self, appendfsync: &'static str, end: End) -> bool {
        let mut options = options(appendfsync);
        if let End::At(point, times) = end {
            options = options.variable("TRILITH_KILL_AT", format!("{point}:{times}"));
        }
        let mut server = match options.start(self.data) {
            Ok(server) => server,
            Err(error) => {
                // In recovery.
                let told = error.to_string();
                assert!(is_planned(end, &told), "{end:?}: {told}");
                self.count();
                return false;
            }
        };
        let compared = self.compare(&server);
        match &compared {
            Ok(()) => self.serve(&mut server, end),
            Err(error) => assert!(
                matches!(end, End::At(..)),
                "{end:?}: {error}\n{}",
                server.output()
            ),
        }
        match end {
            End::After(_) => server.kill().unwrap(),
            End::At(..) => {
                let status = server.await_exit(PLANNED_WITHIN).unwrap();
                assert_eq!(status.signal(), Some(9), "{end:?}: {}", server.output());
                assert!(
                    is_planned(end, &server.output()),
                    "{end:?}: {}",
                    server.output()
                );
            }
        }
        self.count();
        compared.is_ok()
    }

    fn serve(&mut self, server: &mut Server, end: End) {
        let address = server.address();
        thread::scope(|scope| {
            for load in &mut self.loads {
                scope.spawn(move || load.run(address));
            }
            match end {
                // The handle stays: its drop would be a second kill, which is harmless.
                End::After(time) => {
                    thread::sleep(time);
                    server.kill_now().unwrap();
                }
                End::At(..) => {
                    server.await_exit(PLANNED_WITHIN).unwrap();
                }
            }
        });
    }

    fn count(&mut self) {
        self.died = Instant::now();
        self.kills += 1;
    }

    /// Every key of every client, and that there are no others.
    fn compare(&mut self, server: &Server) -> std::io::Result<()> {
        // What was to expire soon has to be gone.
        let left = (SOON * 2).saturating_sub(self.died.elapsed());
        thread::sleep(left);
        let mut client = server.connect()?;
        for load in &mut self.loads {
            load.compare(&mut client)?;
        }
        let keys: usize = self.loads.iter().map(Load::keys).sum();
        let expected = Reply::Integer(keys as i64);
        let start = Instant::now();
        // Expired keys are counted until they are removed.
        loop {
            let size = client.call(&["DBSIZE"])?;
            if size == expected {
                return Ok(());
            }
            assert!(
                start.elapsed() < Duration::from_secs(10),
                "DBSIZE is {size:?} and should be {keys}"
            );
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// So little memory that flushes, compactions and rotations go on all the time.
fn options(appendfsync: &'static str) -> ServerOptions {
    ServerOptions::default()
        .appendfsync(appendfsync)
        .arguments(["--memory", "4mb"])
}

fn is_planned(end: End, output: &str) -> bool {
    let End::At(point, _) = end else { return false };
    output
        .to_lowercase()
        .contains(&format!("killed at {point}"))
}

/// Goes through all points so often, a kill from outside after each.
fn kill_again_and_again(times: usize) {
    let seed = std::env::var("TRILITH_SEED").map_or(1, |seed| seed.parse().unwrap());
    println!("TRILITH_SEED={seed}");
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("store");
    let mut trial = Trial {
        data: &data,
        loads: (0..CLIENTS).map(|client| Load::new(client, seed)).collect(),
        dice: Dice::new(seed),
        kills: 0,
        died: Instant::now(),
    };
    let mut planned = 0;
    let mut policies = ["always", "everysec"].into_iter().cycle();
    for _ in 0..times {
        for nth in 0..3 {
            for (point, counts) in POINTS {
                let appendfsync = policies.next().unwrap();
                let mut count = counts[nth];
                // Recovery may get there first: a kill as good as others, but not one under load.
                while !trial.live(appendfsync, End::At(point, count)) {
                    count += 2;
                }
                planned += 1;
                let time = Duration::from_millis(20 + trial.dice.below(480));
                trial.live(appendfsync, End::After(time));
            }
            // Else each point would meet one policy alone.
            policies.next();
        }
    }
    let server = options("everysec").start(&data).unwrap();
    trial.compare(&server).unwrap();
    assert!(server.shutdown(Duration::from_secs(30)).unwrap().success());
    let server = options("everysec").start(&data).unwrap();
    trial.compare(&server).unwrap();

    let acknowledged: u64 = trial.loads.iter().map(|load| load.acknowledged).sum();
    let kills = trial.kills;
    println!(
        "{kills} kills, {planned} at a point under load; {acknowledged} commands acknowledged"
    );
    // Each of them was seen to hit its point: three a point.
    assert_eq!(planned, times * POINTS.len() * 3);
    assert!(kills >= 30, "{kills}");
    assert!(acknowledged > 10_000, "{acknowledged}");
}

#[test]
fn nothing_acknowledged_is_lost_to_kill_9() {
    kill_again_and_again(1);
}

#[test]
#[ignore = "takes minutes"]
fn nothing_acknowledged_is_lost_to_many_kills() {
    kill_again_and_again(20);
}
