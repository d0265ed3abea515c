//! Each engine runs in a process of its own, so that memory, bytes written and background threads are
//! counted apart; the parent tells them by lines of JSON which workload to run when.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde::{Deserialize, Serialize};
use trilith_server::bench::command::empty;
use trilith_server::bench::driver::{Extent, Session, Settings};
use trilith_server::bench::{PhaseReport, Target, TargetOptions, Workload};

use crate::engines::Engine;

/// The first line a child reads.
#[derive(Clone, Serialize, Deserialize)]
pub struct Setup {
    pub engine: Engine,
    pub directory: PathBuf,
    pub options: TargetOptions,
    pub settings: Settings,
}

/// Every further line; the answer to each is one line too.
#[derive(Serialize, Deserialize)]
struct Order {
    workload: Workload,
    extent: Extent,
}

/// An engine at work.
pub struct EngineProcess {
    pub engine: Engine,
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl EngineProcess {
    pub fn start(setup: &Setup) -> Result<Self, String> {
        let describe = |error: std::io::Error| format!("starting {}: {error}", setup.engine);
        let mut child = Command::new(std::env::current_exe().map_err(describe)?)
            .arg("engine")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(describe)?;
        let (orders, answers) = (child.stdin.take(), child.stdout.take());
        let mut process = Self {
            engine: setup.engine,
            child,
            orders,
            answers: BufReader::new(answers.ok_or("the child has no output")?),
        };
        process.send(setup)?;
        Ok(process)
    }

    pub fn run(&mut self, workload: Workload, extent: Extent) -> Result<PhaseReport, String> {
        self.send(&Order { workload, extent })?;
        let mut line = String::new();
        self.answers
            .read_line(&mut line)
            .map_err(|error| error.to_string())?;
        let answer: Result<PhaseReport, String> = serde_json::from_str(&line)
            .map_err(|error| format!("{} died in {workload}: {error}", self.engine))?;
        answer.map_err(|error| format!("{} in {workload}: {error}", self.engine))
    }

    fn send(&mut self, message: &impl Serialize) -> Result<(), String> {
        let line = serde_json::to_string(message).map_err(|error| error.to_string())?;
        let orders = self.orders.as_mut().ok_or("the child takes no orders")?;
        writeln!(orders, "{line}").map_err(|error| format!("{}: {error}", self.engine))
    }
}

impl Drop for EngineProcess {
    fn drop(&mut self) {
        // The end of its input ends the child, which closes its store first.
        self.orders = None;
        let _ = self.child.wait();
    }
}

/// What a child does.
pub fn serve() -> Result<(), String> {
    let mut lines = std::io::stdin().lines();
    let first = lines
        .next()
        .ok_or("there is no setup")?
        .map_err(|error| error.to_string())?;
    let setup: Setup = serde_json::from_str(&first).map_err(|error| error.to_string())?;
    let session = Session::new(setup.settings.clone())?;
    let mut store = Store {
        setup: &setup,
        session: &session,
        target: None,
        filled: false,
    };
    for line in lines {
        let line = line.map_err(|error| error.to_string())?;
        let order: Order = serde_json::from_str(&line).map_err(|error| error.to_string())?;
        let answer = store.obey(&order);
        let answer = serde_json::to_string(&answer).map_err(|error| error.to_string())?;
        println!("{answer}");
    }
    Ok(())
}

struct Store<'a> {
    setup: &'a Setup,
    session: &'a Session,
    target: Option<Box<dyn Target>>,
    filled: bool,
}

impl Store<'_> {
    fn obey(&mut self, order: &Order) -> Result<PhaseReport, String> {
        // What cannot look anything up has no use for keys to overwrite.
        if !order.workload.fills() && !self.filled && self.setup.engine.can_read() {
            self.run(Workload::FillRandom, &order.extent)?;
        }
        let report = self.run(order.workload, &order.extent)?;
        self.filled = order.workload != Workload::DeleteRandom;
        Ok(report)
    }

    fn run(&mut self, workload: Workload, extent: &Extent) -> Result<PhaseReport, String> {
        let directory: &Path = &self.setup.directory;
        if workload.fills() || self.target.is_none() {
            self.target = None;
            empty(directory)?;
        }
        let target = match &mut self.target {
            Some(target) => target,
            none => none.insert(self.setup.engine.open(directory, &self.setup.options)?),
        };
        self.session
            .run(&**target, directory, workload, extent, &mut |_| ())
    }
}
