//! Processes of this one's own, which never outlive it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::sys;

/// How often an ending process is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How much of the end of a log is shown.
const TAIL_BYTES: u64 = 2000;

/// A process, and the file that it prints to.
pub struct Process {
    child: Child,
    log: PathBuf,
    status: Option<ExitStatus>,
}

/// How a process was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// As it was asked to.
    Gently(Duration),
    /// It had not ended in time.
    Killed,
    /// It had ended before.
    Already,
}

impl Process {
    /// Starts `command`, whose output goes to the end of `log`.
    ///
    /// It has to be called on a thread that lives as long as the program: where the system ends children with their
    /// parent, it means the thread.
    pub fn start(mut command: Command, log: &Path) -> io::Result<Self> {
        let output = OpenOptions::new().create(true).append(true).open(log)?;
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        sys::tie_to_this_process(&mut command);
        Ok(Self {
            child: command.spawn()?,
            log: log.to_owned(),
            status: None,
        })
    }

    /// Its id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            // A child that cannot be waited for is nobody's any more; it does not come to that.
            self.status = self.child.try_wait().ok().flatten();
        }
        self.status
    }

    /// Asks it to stop, and kills it if it has not within `limit`.
    pub async fn stop(&mut self, limit: Duration) -> Stopped {
        if self.ended().is_some() {
            return Stopped::Already;
        }
        let start = Instant::now();
        // If it cannot be asked it is killed below.
        let asked = sys::terminate(&mut self.child).is_ok();
        while asked && start.elapsed() < limit {
            if self.ended().is_some() {
                return Stopped::Gently(start.elapsed());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        self.kill();
        Stopped::Killed
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        if self.ended().is_none() {
            // It may end in this moment by itself, which is as good.
            let _killed = self.child.kill();
            self.status = self.child.wait().ok();
        }
    }

    /// The last lines that it has printed.
    pub fn last_words(&self) -> String {
        tail(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn tail(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let len = file.metadata()?.len();
    file.seek(SeekFrom::Start(len.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    Ok(lines[lines.len().saturating_sub(10)..].join("\n"))
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::thread::sleep;

    use super::*;

    /// A shell that says when it is ready.
    fn shell(script: &str, log: &Path) -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let process = Process::start(command, log).unwrap();
        let start = Instant::now();
        while !process.last_words().contains("ready") {
            assert!(start.elapsed() < Duration::from_secs(20), "not ready");
            sleep(LOOK_EVERY);
        }
        process
    }

    fn is_there(pid: u32) -> bool {
        let mut kill = Command::new("kill");
        kill.args(["-0", &pid.to_string()]).stderr(Stdio::null());
        kill.status().unwrap().success()
    }

    #[tokio::test]
    async fn a_process_is_stopped_gently_if_it_will() {
        let directory = tempfile::tempdir().unwrap();
        let script = "trap 'exit 0' TERM; echo ready; while :; do sleep 0.02; done";
        let mut process = shell(script, &directory.path().join("log"));
        let stopped = process.stop(Duration::from_secs(20)).await;
        assert!(matches!(stopped, Stopped::Gently(_)), "{stopped:?}");
        assert_eq!(process.stop(Duration::ZERO).await, Stopped::Already);
    }

    #[tokio::test]
    async fn a_process_that_does_not_stop_is_killed() {
        let directory = tempfile::tempdir().unwrap();
        let script = "trap '' TERM; echo ready; while :; do sleep 0.02; done";
        let mut process = shell(script, &directory.path().join("log"));
        assert_eq!(
            process.stop(Duration::from_millis(100)).await,
            Stopped::Killed
        );
        assert!(!is_there(process.pid()));
    }

    #[test]
    fn a_process_does_not_outlive_its_handle() {
        let directory = tempfile::tempdir().unwrap();
        let process = shell("echo ready; exec sleep 60", &directory.path().join("log"));
        let pid = process.pid();
        assert!(is_there(pid));
        drop(process);
        assert!(!is_there(pid));
    }

    #[test]
    fn the_last_words_are_the_last_lines() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let mut process = shell("seq 1 2000; echo ready", &log);
        while process.ended().is_none() {
            sleep(LOOK_EVERY);
        }
        let words = process.last_words();
        assert_eq!(words.lines().count(), 10);
        assert!(
            words.starts_with("1992\n") && words.ends_with("\n2000\nready"),
            "{words}"
        );
    }
}
